import type { Executor, Feeds, Resident, Runnable } from '../../models/executor.js';
import { type Matrix, zeroMatrix } from '../../models/linalg/matrix.js';
import { attribute, Graph, node } from '../../models/onnx/graph.js';
import { writeModel } from '../../models/onnx/model-proto.js';
import { type Tensor, tensor } from '../../models/tensors/tensor.js';
import { ExecutorHeldMatrices } from './executor-held-matrices.js';
import type { MatrixProducts } from './matrix-products.js';

/**
 * a · bᵀ in float64 on a runtime's kernels: one ONNX Gemm, run tile by tile. Every entry is a sum of k products, so that
 *   |computed − exact| ≤ k·ε/(1 − k·ε) · Σ|aᵢₗ·bⱼₗ|   (Higham 2002, §3.1, any order of summation),
 * whatever blocking the kernels use. Tiles are cut by the sizes alone and come in one order: equal operands give equal bits on
 * an executor with a fixed number of threads.
 */
export interface ExecutorProducts extends MatrixProducts {
  /** Frees the sessions; may be called before any product, and more than once. */
  release(): Promise<void>;
}

/** An operand of a message has at most 2²² numbers, 32 MiB of float64; so has a result of 2048 by 2048 rows. */
const OPERAND_ELEMENTS = 2 ** 22;
const LARGEST_TILE_ROWS = 2 ** 11;
/** Rows of a tile of a·aᵀ: only tiles on and below the diagonal are computed, so smaller ones save more. */
const SYMMETRIC_ROWS = 512;
const MIRROR_BLOCK = 64;

/** Products on `executor`, which stays the caller's. Sessions are opened when they are first wanted. */
export function executorProducts(executor: Executor): ExecutorProducts {
  let session: Promise<Runnable> | undefined;
  const held = new ExecutorHeldMatrices(executor);
  return {
    held,
    timesTransposed: async (a, b) => {
      if (a.cols !== b.cols) throw new RangeError(`inner sizes differ: ${a.cols} and ${b.cols}`);
      if (a.rows === 0 || b.rows === 0 || a.cols === 0) return zeroMatrix(a.rows, b.rows);
      session ??= executor.open(gemmModel());
      return product({ executor, gemm: await session }, a, b);
    },
    release: async () => {
      const opened = session;
      session = undefined;
      await (await opened)?.release();
      await held.release();
    },
  };
}

/** y [m, n] = a [m, k] · b [n, k]ᵀ. */
function gemmModel(): Uint8Array {
  const graph = new Graph();
  graph.inputs = [
    { name: 'a', type: 'float64', shape: ['m', 'k'] },
    { name: 'b', type: 'float64', shape: ['n', 'k'] },
  ];
  graph.outputs = [{ name: 'y', type: 'float64', shape: ['m', 'n'] }];
  graph.nodes = [node('Gemm', ['a', 'b'], ['y'], { name: 'product', attributes: { transB: attribute.int(1) } })];
  return writeModel(graph);
}

type Range = readonly [first: number, end: number];

interface Session {
  readonly executor: Executor;
  readonly gemm: Runnable;
}

/** One product in the making: the slice `columns` of the inner dimension is being added to `result`. */
interface Slice extends Session {
  readonly result: Matrix;
  readonly columns: Range;
}

/** Slices of the inner dimension one after the other; their products are added in that order. */
async function product(session: Session, a: Matrix, b: Matrix): Promise<Matrix> {
  const [whole, ...others] = ranges(a.cols, OPERAND_ELEMENTS);
  if (whole !== undefined && others.length === 0 && isOneTile(a, b, whole)) return oneTile(session, a, b, whole);
  const result = zeroMatrix(a.rows, b.rows);
  for (const columns of ranges(a.cols, OPERAND_ELEMENTS)) {
    const slice = { ...session, result, columns };
    if (isSymmetric(a, b)) await addSymmetricSlice(slice, a);
    else await addSlice(slice, a, b);
  }
  return result;
}

function isSymmetric(a: Matrix, b: Matrix): boolean {
  return a.data === b.data && a.rows === b.rows;
}

/** Whether a product is one run, and no symmetric one that tiles would make cheaper. */
function isOneTile(a: Matrix, b: Matrix, columns: Range): boolean {
  const most = isSymmetric(a, b) ? Math.min(SYMMETRIC_ROWS, tileRows(columns)) : tileRows(columns);
  return Math.max(a.rows, b.rows) <= most;
}

/** Operands travel with the run. */
async function oneTile({ gemm }: Session, a: Matrix, b: Matrix, columns: Range): Promise<Matrix> {
  const { y } = await gemm.run({ a: operand(a, [0, a.rows], columns), b: operand(b, [0, b.rows], columns) });
  return { rows: a.rows, cols: b.rows, data: y?.data as Float64Array };
}

/** The right operand stays in the executor while tiles of the left one come and go. */
async function addSlice(slice: Slice, a: Matrix, b: Matrix): Promise<void> {
  const { executor, columns } = slice;
  const rightTiles = ranges(b.rows, tileRows(columns));
  const right = await uploadTiles(slice, b, rightTiles);
  try {
    for (const rows of ranges(a.rows, tileRows(columns))) {
      const [left] = await uploadTiles(slice, a, [rows]);
      if (left === undefined) continue;
      try {
        for (const [j, resident] of right.entries()) {
          await addTile(slice, { a: left, b: resident }, rows, rightTiles[j] as Range);
        }
      } finally {
        await executor.free([left]);
      }
    }
  } finally {
    await executor.free(right);
  }
}

/** Tiles on and below the diagonal; the others are their mirror images, so the result is symmetric to the bit. */
async function addSymmetricSlice(slice: Slice, a: Matrix): Promise<void> {
  const rows = ranges(a.rows, Math.min(SYMMETRIC_ROWS, tileRows(slice.columns)));
  const residents = await uploadTiles(slice, a, rows);
  try {
    for (const [i, left] of residents.entries()) {
      for (let j = 0; j < i; j += 1) {
        await addTile(slice, { a: left, b: residents[j] as Resident }, rows[i] as Range, rows[j] as Range);
      }
      await addTile(slice, { a: left, b: left }, rows[i] as Range, rows[i] as Range);
    }
  } finally {
    await slice.executor.free(residents);
  }
  mirrorLower(slice.result);
}

function ranges(length: number, step: number): Range[] {
  return Array.from({ length: Math.ceil(length / step) }, (_, i) => [i * step, Math.min(length, (i + 1) * step)]);
}

function tileRows([first, end]: Range): number {
  return Math.min(LARGEST_TILE_ROWS, Math.max(1, Math.floor(OPERAND_ELEMENTS / (end - first))));
}

async function uploadTiles({ executor, columns }: Slice, matrix: Matrix, rows: readonly Range[]): Promise<Resident[]> {
  return uploaded(
    executor,
    rows.map((range) => operand(matrix, range, columns)),
  );
}

async function uploaded(executor: Executor, tensors: readonly Tensor[]): Promise<Resident[]> {
  const residents: Resident[] = [];
  for (const value of tensors) residents.push(await executor.upload(value));
  return residents;
}

function operand(matrix: Matrix, rows: Range, columns: Range): Tensor {
  return tensor('float64', [rows[1] - rows[0], columns[1] - columns[0]], tileData(matrix, rows, columns));
}

/** Whole rows are a view; parts of rows are copied. */
function tileData({ cols, data }: Matrix, [firstRow, endRow]: Range, [first, end]: Range): Float64Array {
  if (first === 0 && end === cols) return data.subarray(firstRow * cols, endRow * cols);
  const result = new Float64Array((endRow - firstRow) * (end - first));
  for (let row = firstRow; row < endRow; row += 1) {
    result.set(data.subarray(row * cols + first, row * cols + end), (row - firstRow) * (end - first));
  }
  return result;
}

async function addTile({ gemm, result, columns }: Slice, feeds: Feeds, rows: Range, right: Range): Promise<void> {
  const { y } = await gemm.run(feeds);
  const width = right[1] - right[0];
  const values = y?.data as Float64Array;
  for (let row = rows[0]; row < rows[1]; row += 1) {
    const from = values.subarray((row - rows[0]) * width, (row - rows[0] + 1) * width);
    const at = row * result.cols + right[0];
    if (columns[0] === 0) result.data.set(from, at);
    else for (let j = 0; j < width; j += 1) result.data[at + j] = (result.data[at + j] as number) + (from[j] as number);
  }
}

/** Copies the lower triangle of a square matrix over the upper one, in blocks that stay in the cache. */
function mirrorLower({ rows: n, data }: Matrix): void {
  for (const [firstRow, endRow] of ranges(n, MIRROR_BLOCK)) {
    for (const [first, end] of ranges(endRow, MIRROR_BLOCK)) {
      for (let i = firstRow; i < endRow; i += 1) {
        for (let j = first; j < Math.min(end, i); j += 1) data[j * n + i] = data[i * n + j] as number;
      }
    }
  }
}
