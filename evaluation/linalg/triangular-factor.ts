import { dot, type Matrix, matrixRow, transpose, zeroMatrix } from '../../models/linalg/matrix.js';

/**
 * The triangular factor R of A = Q·R by Householder reflections (Golub & Van Loan, Matrix Computations, algorithm 5.2.1):
 * Rᵀ·R = Aᵀ·A without ever squaring the condition number. A is [m, n]; R is [min(m, n), n]. Signs of rows are not fixed.
 */
export function triangularFactor(a: Matrix): Matrix {
  const columns = transpose(a); // row j holds column j of A, contiguous
  const rank = Math.min(a.rows, a.cols);
  for (let k = 0; k < rank; k += 1) {
    const reflector = householderVector(matrixRow(columns, k).subarray(k));
    if (reflector === undefined) continue;
    for (let j = k; j < a.cols; j += 1) reflect(matrixRow(columns, j).subarray(k), reflector);
  }
  const factor = zeroMatrix(rank, a.cols);
  for (let i = 0; i < rank; i += 1) {
    for (let j = i; j < a.cols; j += 1) factor.data[i * a.cols + j] = columns.data[j * a.rows + i] as number;
  }
  return factor;
}

/** Unit vector v such that (I − 2vvᵀ)x is a multiple of the first unit vector; undefined when x is zero. */
function householderVector(x: Float64Array): Float64Array | undefined {
  const norm = Math.sqrt(dot(x, x));
  if (norm === 0) return undefined;
  const vector = Float64Array.from(x);
  const head = vector[0] as number;
  vector[0] = head + (head < 0 ? -norm : norm);
  const length = Math.sqrt(dot(vector, vector));
  for (let i = 0; i < vector.length; i += 1) vector[i] = (vector[i] as number) / length;
  return vector;
}

/** x ← (I − 2vvᵀ)x in place. */
function reflect(x: Float64Array, v: Float64Array): void {
  const factor = 2 * dot(x, v);
  for (let i = 0; i < x.length; i += 1) x[i] = (x[i] as number) - factor * (v[i] as number);
}
