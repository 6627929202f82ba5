import { type Matrix, zeroMatrix } from './matrix.js';

/**
 * The lower triangular L with L · Lᵀ = A for a symmetric positive definite A (Golub & Van Loan, Matrix Computations,
 * algorithm 4.2.1). Only the lower triangle of A is read.
 * @throws RangeError when A is not positive definite
 */
export function choleskyFactor(matrix: Matrix): Matrix {
  const n = matrix.rows;
  const factor = zeroMatrix(n, n);
  const { data } = factor;
  for (let i = 0; i < n; i += 1) {
    for (let j = 0; j <= i; j += 1) {
      let sum = matrix.data[i * n + j] as number;
      for (let k = 0; k < j; k += 1) sum -= (data[i * n + k] as number) * (data[j * n + k] as number);
      if (i > j) data[i * n + j] = sum / (data[j * n + j] as number);
      else if (sum > 0) data[i * n + i] = Math.sqrt(sum);
      else throw new RangeError('the matrix is not positive definite');
    }
  }
  return factor;
}

/** x with L · Lᵀ · x = b. */
export function solveWithFactor(factor: Matrix, b: Float64Array): Float64Array {
  const n = factor.rows;
  const x = Float64Array.from(b);
  for (let i = 0; i < n; i += 1) {
    let sum = x[i] as number;
    for (let k = 0; k < i; k += 1) sum -= (factor.data[i * n + k] as number) * (x[k] as number);
    x[i] = sum / (factor.data[i * n + i] as number);
  }
  return solveTransposed(factor, x);
}

/** x with Lᵀ · x = b. */
export function solveTransposed(factor: Matrix, b: Float64Array): Float64Array {
  const n = factor.rows;
  const x = Float64Array.from(b);
  for (let i = n - 1; i >= 0; i -= 1) {
    let sum = x[i] as number;
    for (let k = i + 1; k < n; k += 1) sum -= (factor.data[k * n + i] as number) * (x[k] as number);
    x[i] = sum / (factor.data[i * n + i] as number);
  }
  return x;
}

/** A + share · mean(diag A) · I, and the identity times `floor` where A is zero: what makes A safely invertible. */
export function ridged({ rows, cols, data }: Matrix, share: number, floor = Number.MIN_VALUE): Matrix {
  let trace = 0;
  for (let i = 0; i < rows; i += 1) trace += data[i * cols + i] as number;
  const ridge = Math.max((share * trace) / rows, floor);
  const copy = { rows, cols, data: Float64Array.from(data) };
  for (let i = 0; i < rows; i += 1) copy.data[i * cols + i] = (copy.data[i * cols + i] as number) + ridge;
  return copy;
}
