import type { Breathe } from './breathe.js';

/** A dense float64 matrix, row-major. */
export interface Matrix {
  readonly rows: number;
  readonly cols: number;
  readonly data: Float64Array;
}

/** A matrix of zeros. */
export function zeroMatrix(rows: number, cols: number): Matrix {
  return { rows, cols, data: new Float64Array(rows * cols) };
}

/** Row `index` of a matrix, as a view. */
export function matrixRow(matrix: Matrix, index: number): Float64Array {
  return matrix.data.subarray(index * matrix.cols, (index + 1) * matrix.cols);
}

/** Inner product of two vectors of equal length, summed in index order. */
export function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i += 1) sum += (a[i] as number) * (b[i] as number);
  return sum;
}

/** a · bᵀ: [m, k] and [n, k] give [m, n]. */
export function multiplyTransposed(a: Matrix, b: Matrix): Matrix {
  const result = productOf(a, b);
  for (let i = 0; i < a.rows; i += 1) multiplyRow(result, i, a, b);
  return result;
}

/** The same with a pause after every row. */
export async function multiplyTransposedSlowly(a: Matrix, b: Matrix, breathe: Breathe): Promise<Matrix> {
  const result = productOf(a, b);
  for (let i = 0; i < a.rows; i += 1) {
    multiplyRow(result, i, a, b);
    await breathe();
  }
  return result;
}

function productOf(a: Matrix, b: Matrix): Matrix {
  if (a.cols !== b.cols) throw new RangeError(`inner sizes differ: ${a.cols} and ${b.cols}`);
  return zeroMatrix(a.rows, b.rows);
}

function multiplyRow(result: Matrix, i: number, a: Matrix, b: Matrix): void {
  const row = matrixRow(a, i);
  for (let j = 0; j < b.rows; j += 1) result.data[i * b.rows + j] = dot(row, matrixRow(b, j));
}

/** The transposed matrix, copied. */
export function transpose(matrix: Matrix): Matrix {
  const result = zeroMatrix(matrix.cols, matrix.rows);
  for (let i = 0; i < matrix.rows; i += 1) {
    for (let j = 0; j < matrix.cols; j += 1) {
      result.data[j * matrix.rows + i] = matrix.data[i * matrix.cols + j] as number;
    }
  }
  return result;
}
