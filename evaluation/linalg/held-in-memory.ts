import { type Matrix, matrixRow, transpose, zeroMatrix } from '../../models/linalg/matrix.js';
import type { HeldMatrices, HeldMatrix, ProductForm, Range } from './held-matrices.js';
import type { MatrixProducts } from './matrix-products.js';

/** Matrices in this process, for products that are computed in it. */
export function heldInMemory(products: MatrixProducts): HeldMatrices {
  const gram = (x: Matrix): Promise<Matrix> => products.timesTransposed(x, x);
  const product = async (a: HeldMatrix, b: HeldMatrix, form: ProductForm = {}): Promise<Matrix> => {
    const { turnA = false, turnB = false, minus = false, plus, factor = 1 } = form;
    const right = turnB ? own(b) : transpose(own(b));
    const result = await products.timesTransposed(turnA ? transpose(own(a)) : own(a), right);
    const added = plus === undefined ? undefined : own(plus).data;
    const sign = minus ? -1 : 1;
    return { ...result, data: result.data.map((value, i) => sign * value + factor * (added?.[i] ?? 0)) };
  };
  return {
    hold: async (matrix) => matrix,
    holdCentred: async (rows, centre) => centredMatrix(rows, centre),
    product,
    readProduct: product,
    gram: async (x) => gram(own(x)),
    triangularGram: async (t) => gram(transpose(own(t))),
    addedScatter: async (last, rows, centre, b) => {
      const row = { rows: 1, cols: b.length, data: b };
      const joined = await product(row, row, { turnA: true, plus: last });
      const centred = centredMatrix(rows, centre);
      return product(centred, centred, { turnA: true, plus: joined });
    },
    eliminated: async (a, p) => {
      const [upper, lower]: [Range, Range] = [
        [0, p.rows],
        [p.rows, a.rows],
      ];
      const below = await product(block(own(a), lower, upper), p, { turnB: true });
      return [below, await product(below, below, { turnB: true, minus: true, plus: block(own(a), lower, lower) })];
    },
    joinedTriangles: async (p, l, q) => {
      const coupling = await product(q, await product(l, p), { minus: true });
      return joined(own(p), coupling, own(q));
    },
    turned: async (of) => transpose(own(of)),
    block: async (of, rows, cols) => block(own(of), rows, cols),
    pick: async (of, what, indices) => picked(own(of), what, indices),
    stack: async (parts) => stacked(parts.map(own)),
    diagonal: async (of) => Float64Array.from({ length: of.rows }, (_, i) => own(of).data[i * of.cols + i] as number),
    read: async (of, rows = [0, of.rows], cols = [0, of.cols]) => block(own(of), rows, cols),
    free: async () => undefined,
  };
}

function own(of: HeldMatrix): Matrix {
  return of as Matrix;
}

/** Rows [n, d] with the centre [d] taken out, float64. */
export function centredMatrix(rows: Float32Array, centre: Float64Array): Matrix {
  const d = centre.length;
  const result = zeroMatrix(rows.length / d, d);
  for (let i = 0; i < rows.length; i += d) {
    for (let j = 0; j < d; j += 1) result.data[i + j] = (rows[i + j] as number) - (centre[j] as number);
  }
  return result;
}

function block(of: Matrix, [firstRow, endRow]: Range, [first, end]: Range): Matrix {
  const result = zeroMatrix(endRow - firstRow, end - first);
  for (let row = firstRow; row < endRow; row += 1) {
    result.data.set(matrixRow(of, row).subarray(first, end), (row - firstRow) * result.cols);
  }
  return result;
}

function picked(of: Matrix, what: 'rows' | 'cols', indices: Uint32Array): Matrix {
  if (what === 'cols') return transpose(picked(transpose(of), 'rows', indices));
  const result = zeroMatrix(indices.length, of.cols);
  for (const [i, row] of indices.entries()) result.data.set(matrixRow(of, row), i * of.cols);
  return result;
}

function stacked(parts: readonly Matrix[]): Matrix {
  const result = zeroMatrix(
    parts.reduce((sum, { rows }) => sum + rows, 0),
    parts[0]?.cols ?? 0,
  );
  let at = 0;
  for (const { data } of parts) {
    result.data.set(data, at);
    at += data.length;
  }
  return result;
}

function joined(first: Matrix, coupling: Matrix, second: Matrix): Matrix {
  const result = zeroMatrix(first.rows + second.rows, first.rows + second.rows);
  for (let i = 0; i < first.rows; i += 1) result.data.set(matrixRow(first, i), i * result.cols);
  for (let i = 0; i < second.rows; i += 1) {
    const at = (first.rows + i) * result.cols;
    result.data.set(matrixRow(coupling, i), at);
    result.data.set(matrixRow(second, i), at + first.rows);
  }
  return result;
}
