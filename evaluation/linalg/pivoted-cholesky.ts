import { type Matrix, zeroMatrix } from '../../models/linalg/matrix.js';

/**
 * A factor F [r, d] of a symmetric positive semi-definite S [d, d] with Fᵀ·F = S (Cholesky with diagonal pivoting, Higham 2002,
 * §10.3). r is the numerical rank: it stops at a pivot below d · ε · the largest diagonal entry. Throws RangeError when S is not
 * square, or a diagonal entry is negative beyond that.
 */
export function semidefiniteFactor(s: Matrix): Matrix {
  const d = s.rows;
  if (s.cols !== d) throw new RangeError(`a covariance is square, got [${s.rows}, ${s.cols}]`);
  const rest = Float64Array.from(s.data);
  const diagonal = (i: number) => rest[i * d + i] as number;
  const threshold =
    d * Number.EPSILON * Array.from({ length: d }, (_, i) => diagonal(i)).reduce((a, b) => Math.max(a, b), 0);
  const rows: Float64Array[] = [];
  while (rows.length < d) {
    let pivot = 0;
    for (let i = 0; i < d; i += 1) {
      if (diagonal(i) > diagonal(pivot)) pivot = i;
      if (diagonal(i) < -threshold) throw new RangeError(`not positive semi-definite: ${diagonal(i)} on the diagonal`);
    }
    if (!(diagonal(pivot) > threshold)) break;
    rows.push(eliminate(rest, d, pivot));
  }
  const factor = zeroMatrix(rows.length, d);
  for (const [index, row] of rows.entries()) factor.data.set(row, index * d);
  return factor;
}

/** Takes the rank-one part of `pivot` out of `rest` [d, d]; returns the factor's row. */
function eliminate(rest: Float64Array, d: number, pivot: number): Float64Array {
  const root = Math.sqrt(rest[pivot * d + pivot] as number);
  const row = Float64Array.from({ length: d }, (_, j) => (rest[pivot * d + j] as number) / root);
  for (let i = 0; i < d; i += 1) {
    const left = row[i] as number;
    for (let j = 0; j < d; j += 1) rest[i * d + j] = (rest[i * d + j] as number) - left * (row[j] as number);
  }
  for (let i = 0; i < d; i += 1) {
    rest[pivot * d + i] = 0;
    rest[i * d + pivot] = 0;
  }
  return row;
}
