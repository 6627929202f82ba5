import { dot, type Matrix, matrixRow, transpose } from '../../models/linalg/matrix.js';
import { triangularFactor } from './triangular-factor.js';

/** Sweeps of Jacobi rotations; quadratic convergence needs about ten, more means that the input was not finite. */
const MAX_SWEEPS = 60;

/** Rows count as orthogonal when |x·y| ≤ this · |x||y|: the rounding of an inner product of a few thousand terms. */
const ORTHOGONAL = 1e-15;

/**
 * Singular values, largest first, by one-sided Jacobi rotations (Hestenes 1958; Demmel & Veselić 1992: small values keep
 * their relative accuracy). Works on the smaller side after a triangular reduction: O(min(m, n)³) per sweep.
 */
export function singularValues(matrix: Matrix): Float64Array {
  const tall = matrix.rows >= matrix.cols ? matrix : transpose(matrix);
  const work = transpose(triangularFactor(tall));
  const negligible = (Number.EPSILON * Math.sqrt(dot(work.data, work.data))) ** 2;
  let rotated = true;
  for (let sweep = 0; rotated; sweep += 1) {
    if (sweep === MAX_SWEEPS) throw new RangeError('singular values did not converge; is every entry finite?');
    rotated = false;
    for (let p = 0; p < work.rows - 1; p += 1) {
      for (let q = p + 1; q < work.rows; q += 1) {
        if (orthogonalize(matrixRow(work, p), matrixRow(work, q), negligible)) rotated = true;
      }
    }
  }
  const values = Float64Array.from({ length: work.rows }, (_, i) => {
    const row = matrixRow(work, i);
    return Math.sqrt(dot(row, row));
  });
  return values.sort().reverse();
}

/** Sum of the singular values. */
export function nuclearNorm(matrix: Matrix): number {
  return singularValues(matrix).reduceRight((sum, value) => sum + value, 0);
}

/** Rotates two rows so that they become orthogonal; false when they already were, or one is negligible (squared norm). */
function orthogonalize(x: Float64Array, y: Float64Array, negligible: number): boolean {
  const xx = dot(x, x);
  const yy = dot(y, y);
  const xy = dot(x, y);
  if (xx <= negligible || yy <= negligible || Math.abs(xy) <= ORTHOGONAL * Math.sqrt(xx * yy)) return false;
  const zeta = (yy - xx) / (2 * xy);
  const tangent = (zeta < 0 ? -1 : 1) / (Math.abs(zeta) + Math.hypot(1, zeta));
  const cosine = 1 / Math.hypot(1, tangent);
  const sine = cosine * tangent;
  for (let i = 0; i < x.length; i += 1) {
    const xi = x[i] as number;
    const yi = y[i] as number;
    x[i] = cosine * xi - sine * yi;
    y[i] = sine * xi + cosine * yi;
  }
  return true;
}
