import { NibbleflowError } from '../../contracts/errors.js';
import type { Breathe } from '../../models/linalg/breathe.js';
import { dot, type Matrix } from '../../models/linalg/matrix.js';
import type { FeatureRows } from '../features/feature-set.js';
import { type PivotedFactor, pivotedFactor } from '../linalg/blocked-cholesky.js';
import { centredMatrix } from '../linalg/held-in-memory.js';
import type { HeldMatrices, HeldMatrix } from '../linalg/held-matrices.js';
import { columnMeans } from '../statistics/gaussian-moments.js';
import { heldMoments, refuseNonFinite } from '../statistics/gaussian-moments-of.js';

/**
 * One side of a Fréchet distance: mean [d] and a factor F [r, d] of the covariance Σ = FᵀF.
 *
 * With n ≤ d rows F is the centred rows themselves over √(n − 1): nothing is squared. With more, F is the pivoted Cholesky factor
 * of the streamed covariance Σ + E, |E| ≤ c·d·ε·tr Σ; factors of Σ and Σ + E differ by at most √|E|_tr in Frobenius norm up to a
 * rotation (Powers & Størmer 1970), and by about E / √Σ where Σ is well above rounding.
 */
export interface GaussianSide {
  /** Rows behind it; null when a statistics file does not say. */
  readonly n: number | null;
  readonly mean: Float64Array;
  readonly factor: HeldMatrix;
  /** |F|², the trace of Σ. */
  readonly trace: number;
  /** Smallest pivot of F, about its smallest singular value; 0 when F is rows. */
  readonly smallestPivot: number;
  /** How rows are found again: they are F's rows, or they are read and solved with F's triangle; null for statistics files. */
  readonly source: { readonly rows: FeatureRows; readonly pivots: Uint32Array | null } | null;
}

/** Mean and covariance [d, d] (divisor n − 1) as statistics files hold them. */
export interface GaussianReference {
  readonly n: number | null;
  readonly mean: Float64Array;
  readonly covariance: Matrix;
}

/** @throws NibbleflowError InvalidInput for less than two rows, or features that are not finite */
export async function sideOfRows(rows: FeatureRows, held: HeldMatrices, breathe: Breathe): Promise<GaussianSide> {
  const { n, d } = rows;
  if (n < 2 || d < 1) {
    throw new NibbleflowError('InvalidInput', `a Fréchet distance needs features [n ≥ 2, d ≥ 1], got [${n}, ${d}]`);
  }
  if (n <= d) {
    const { mean, factor } = await centredFactor(rows, breathe);
    return { n, mean, ...(await heldFactor(factor, held)), smallestPivot: 0, source: { rows, pivots: null } };
  }
  const { mean, scatter } = await heldMoments(rows, held, breathe);
  const { factor, pivots } = await pivotedFactor(scatter, held, breathe);
  await held.free(scatter);
  scaleBy(1 / Math.sqrt(n - 1), factor);
  const smallestPivot = smallestPivotOf(factor, pivots);
  return { n, mean, ...(await heldFactor(factor, held)), smallestPivot, source: { rows, pivots } };
}

async function heldFactor(factor: Matrix, held: HeldMatrices): Promise<Pick<GaussianSide, 'factor' | 'trace'>> {
  return { factor: await held.hold(factor), trace: dot(factor.data, factor.data) };
}

function smallestPivotOf({ cols, data }: Matrix, pivots: Uint32Array): number {
  return pivots.reduce(
    (least, column, k) => Math.min(least, data[k * cols + column] as number),
    Number.POSITIVE_INFINITY,
  );
}

async function centredFactor(rows: FeatureRows, breathe: Breathe): Promise<{ mean: Float64Array; factor: Matrix }> {
  const { n, d } = rows;
  const data = await rows.read(0, n);
  refuseNonFinite(data, d, 0);
  const mean = columnMeans(data, n, d);
  await breathe();
  const factor = centredMatrix(data, mean);
  scaleBy(1 / Math.sqrt(n - 1), factor);
  await breathe();
  return { mean, factor };
}

function scaleBy(scale: number, { data }: Matrix): void {
  for (let i = 0; i < data.length; i += 1) data[i] = (data[i] as number) * scale;
}

/** Unit roundoff of float32: some tools round covariances to it, which leaves tiny negative eigenvalues. */
const FLOAT32_ROUNDOFF = 2 ** -24;

/**
 * A side from a statistics file. A covariance that is indefinite beyond float64 rounding, but not beyond float32's, loses its
 * directions of variance below √d·2⁻²⁴ of the largest.
 * @throws NibbleflowError InvalidInput when it is no covariance even then
 */
export async function sideOfStatistics(
  { n, mean, covariance }: GaussianReference,
  held: HeldMatrices,
  breathe: Breathe,
): Promise<GaussianSide> {
  if (n !== null && n < 2)
    throw new NibbleflowError('InvalidInput', 'reference statistics of one picture have no covariance');
  const coarse = Math.sqrt(mean.length) * FLOAT32_ROUNDOFF;
  const whole = await held.hold(covariance);
  const { factor, pivots } = await factorOf([undefined, coarse], (tolerance) =>
    pivotedFactor(whole, held, breathe, tolerance),
  );
  await held.free(whole);
  return { n, mean, ...(await heldFactor(factor, held)), smallestPivot: smallestPivotOf(factor, pivots), source: null };
}

/** The factor with the first tolerance that does. */
async function factorOf(
  [tolerance, ...coarser]: readonly (number | undefined)[],
  find: (tolerance: number | undefined) => Promise<PivotedFactor>,
): Promise<PivotedFactor> {
  try {
    return await find(tolerance);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    if (coarser.length > 0) return factorOf(coarser, find);
    throw new NibbleflowError('InvalidInput', `the reference statistics hold no covariance: ${error.message}`, {
      fix: 'Make them again from the pictures with `nibbleflow stats`.',
    });
  }
}
