import type { Executor, Feeds, Resident, Runnable } from '../../models/executor.js';
import type { Matrix } from '../../models/linalg/matrix.js';
import { zeroMatrix } from '../../models/linalg/matrix.js';
import { type Tensor, tensor } from '../../models/tensors/tensor.js';
import {
  blockModel,
  centreModel,
  diagonalModel,
  eliminateModel,
  gramModel,
  joinTrianglesModel,
  pickModel,
  productModel,
  scatterModel,
  stackModel,
  triangularGramModel,
  turnedModel,
} from './held-graphs.js';
import type { HeldMatrices, HeldMatrix, ProductForm, Range } from './held-matrices.js';
import { CUT_ROWS } from './symmetric-graphs.js';

/** Numbers of a message at most: 32 MiB of float64. */
const MESSAGE_ELEMENTS = 2 ** 22;

/** A matrix that is a resident of the executor. */
class ResidentMatrix implements HeldMatrix {
  readonly rows: number;
  readonly cols: number;
  constructor(readonly resident: Resident) {
    this.rows = resident.dims[0] ?? 0;
    this.cols = resident.dims[1] ?? 0;
  }
}

/**
 * Matrices that stay in an executor: each operation is an ONNX model on residents (held-graphs.ts), opened when it is first
 * wanted. Products are one Gemm, with the error bound of executor-products.ts. Equal operands give equal bits on an executor
 * with a fixed number of threads. Calls may overlap; an executor runs them in their order.
 */
export class ExecutorHeldMatrices implements HeldMatrices {
  private readonly sessions = new Map<string, Promise<Runnable>>();

  constructor(private readonly executor: Executor) {}

  async hold(matrix: Matrix): Promise<HeldMatrix> {
    const parts: HeldMatrix[] = [];
    for (const [first, end] of pieces(matrix.rows, matrix.cols)) {
      const data = matrix.data.subarray(first * matrix.cols, end * matrix.cols);
      parts.push(new ResidentMatrix(await this.executor.upload(tensor('float64', [end - first, matrix.cols], data))));
    }
    const [only] = parts;
    if (only !== undefined && parts.length === 1) return only;
    const whole = await this.stack(parts);
    await this.free(...parts);
    return whole;
  }

  async holdCentred(rows: Float32Array, centre: Float64Array): Promise<HeldMatrix> {
    const d = centre.length;
    const x = tensor('float32', [rows.length / d, d], rows);
    return this.kept('centre', centreModel, { x, centre: tensor('float64', [d], centre) });
  }

  async product(a: HeldMatrix, b: HeldMatrix, form: ProductForm = {}): Promise<HeldMatrix> {
    return this.kept(...productCall(a, b, form));
  }

  async readProduct(a: HeldMatrix, b: HeldMatrix, form: ProductForm = {}): Promise<Matrix> {
    return this.computed(...productCall(a, b, form));
  }

  async gram(x: HeldMatrix): Promise<HeldMatrix> {
    const isCut = x.rows > CUT_ROWS;
    return this.kept(`gram ${isCut}`, () => gramModel(isCut), { x: residentOf(x) });
  }

  async triangularGram(t: HeldMatrix): Promise<HeldMatrix> {
    const isCut = t.rows > CUT_ROWS;
    return this.kept(`triangularGram ${isCut}`, () => triangularGramModel(isCut), { t: residentOf(t) });
  }

  async addedScatter(last: HeldMatrix, rows: Float32Array, centre: Float64Array, b: Float64Array): Promise<HeldMatrix> {
    const d = centre.length;
    const feeds = {
      ...{ last: residentOf(last), x: tensor('float32', [rows.length / d, d], rows) },
      ...{ centre: tensor('float64', [d], centre), b: tensor('float64', [1, d], b) },
    };
    const isCut = d > CUT_ROWS;
    return this.kept(`scatter ${isCut}`, () => scatterModel(isCut), feeds);
  }

  async eliminated(a: HeldMatrix, p: HeldMatrix): Promise<readonly [below: HeldMatrix, rest: HeldMatrix]> {
    const session = await this.session('eliminate', eliminateModel);
    const feeds = { a: residentOf(a), p: residentOf(p), half: integers([p.rows]) };
    const { kept } = await session.runKeeping(feeds, [], ['y', 'z']);
    return [new ResidentMatrix(kept.y as Resident), new ResidentMatrix(kept.z as Resident)];
  }

  async joinedTriangles(p: HeldMatrix, l: HeldMatrix, q: HeldMatrix): Promise<HeldMatrix> {
    const feeds = { p: residentOf(p), l: residentOf(l), q: residentOf(q) };
    return this.kept('joinTriangles', joinTrianglesModel, feeds);
  }

  async turned(of: HeldMatrix): Promise<HeldMatrix> {
    return this.kept('turned', turnedModel, { x: residentOf(of) });
  }

  async block(of: HeldMatrix, rows: Range, cols: Range): Promise<HeldMatrix> {
    return this.kept('block', blockModel, blockFeeds(of, rows, cols));
  }

  async pick(of: HeldMatrix, what: 'rows' | 'cols', indices: Uint32Array): Promise<HeldMatrix> {
    const feeds = { x: residentOf(of), indices: integers(Array.from(indices)) };
    return this.kept(`pick ${what}`, () => pickModel(what), feeds);
  }

  async stack(parts: readonly HeldMatrix[]): Promise<HeldMatrix> {
    const feeds = Object.fromEntries(parts.map((part, i) => [`part${i}`, residentOf(part)]));
    return this.kept(`stack ${parts.length}`, () => stackModel(parts.length), feeds);
  }

  async diagonal(of: HeldMatrix): Promise<Float64Array> {
    const session = await this.session('diagonal', diagonalModel);
    const { y } = await session.run({ x: residentOf(of) });
    return y?.data as Float64Array;
  }

  async read(of: HeldMatrix, rows: Range = [0, of.rows], cols: Range = [0, of.cols]): Promise<Matrix> {
    const width = cols[1] - cols[0];
    const result = zeroMatrix(rows[1] - rows[0], width);
    for (const [first, end] of pieces(result.rows, width)) {
      const part = await this.computed('block', blockModel, blockFeeds(of, [rows[0] + first, rows[0] + end], cols));
      if (part.rows === result.rows) return part;
      result.data.set(part.data, first * width);
    }
    return result;
  }

  async free(...matrices: readonly HeldMatrix[]): Promise<void> {
    if (matrices.length > 0) await this.executor.free(matrices.map(residentOf));
  }

  /** Frees the sessions; matrices are freed by who made them. */
  async release(): Promise<void> {
    const opened = [...this.sessions.values()];
    this.sessions.clear();
    for (const session of opened) await (await session).release();
  }

  private session(key: string, model: () => Uint8Array): Promise<Runnable> {
    const found = this.sessions.get(key) ?? this.executor.open(model(), { memoryPattern: false, memoryArena: false });
    this.sessions.set(key, found);
    return found;
  }

  private async kept(key: string, model: () => Uint8Array, feeds: Feeds): Promise<HeldMatrix> {
    const session = await this.session(key, model);
    const { kept } = await session.runKeeping(feeds, [], ['y']);
    return new ResidentMatrix(kept.y as Resident);
  }

  private async computed(key: string, model: () => Uint8Array, feeds: Feeds): Promise<Matrix> {
    const session = await this.session(key, model);
    const { y } = await session.run(feeds);
    return { rows: y?.dims[0] ?? 0, cols: y?.dims[1] ?? 0, data: y?.data as Float64Array };
  }
}

function residentOf(matrix: HeldMatrix): Resident {
  if (!(matrix instanceof ResidentMatrix)) throw new RangeError('the matrix is held elsewhere');
  return matrix.resident;
}

function productCall(
  a: HeldMatrix,
  b: HeldMatrix,
  form: ProductForm,
): [key: string, model: () => Uint8Array, feeds: Feeds] {
  const { turnA = false, turnB = false, minus = false, plus, factor = 1 } = form;
  const added = plus === undefined ? 'none' : factor === 1 ? 'whole' : 'share';
  const feeds = {
    ...{ a: residentOf(a), b: residentOf(b) },
    ...(plus === undefined ? {} : { c: residentOf(plus) }),
    ...(added === 'share' ? { factor: tensor('float64', [1], Float64Array.of(factor)) } : {}),
  };
  const key = `product ${turnA} ${turnB} ${minus} ${added}`;
  return [key, () => productModel({ turnA, turnB, minus, plus: added }), feeds];
}

function blockFeeds(of: HeldMatrix, rows: Range, cols: Range): Feeds {
  return { x: residentOf(of), first: integers([rows[0], cols[0]]), end: integers([rows[1], cols[1]]) };
}

function integers(values: readonly number[]): Tensor {
  return tensor('int64', [values.length], BigInt64Array.from(values, BigInt));
}

/** Ranges of rows that make messages of MESSAGE_ELEMENTS at most; one, empty, for no rows. */
function pieces(rows: number, cols: number): Range[] {
  const step = Math.max(1, Math.floor(MESSAGE_ELEMENTS / Math.max(1, cols)));
  const count = Math.max(1, Math.ceil(rows / step));
  return Array.from({ length: count }, (_, i) => [i * step, Math.min(rows, (i + 1) * step)]);
}
