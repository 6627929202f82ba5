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

/** Blocks of 32 × 32 numbers, 8 KiB, stay in the cache while they are turned. */
const TURNED_BLOCK = 32;

/** The transposed matrix, copied. */
export function transpose(matrix: Matrix): Matrix {
  const result = zeroMatrix(matrix.cols, matrix.rows);
  for (let row = 0; row < matrix.rows; row += TURNED_BLOCK) {
    for (let column = 0; column < matrix.cols; column += TURNED_BLOCK) turnBlock(matrix, result, row, column);
  }
  return result;
}

function turnBlock({ rows, cols, data }: Matrix, result: Matrix, row: number, column: number): void {
  const endColumn = Math.min(cols, column + TURNED_BLOCK);
  for (let i = row; i < Math.min(rows, row + TURNED_BLOCK); i += 1) {
    for (let j = column; j < endColumn; j += 1) result.data[j * rows + i] = data[i * cols + j] as number;
  }
}
