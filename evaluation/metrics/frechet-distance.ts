import { NibbleflowError } from '../../contracts/errors.js';
import { dot, type Matrix, multiplyTransposed } from '../../models/linalg/matrix.js';
import type { Float32Tensor } from '../../models/tensors/tensor.js';
import { semidefiniteFactor } from '../linalg/pivoted-cholesky.js';
import { nuclearNorm } from '../linalg/singular-values.js';
import { triangularFactor } from '../linalg/triangular-factor.js';
import { columnMeans, type GaussianMoments } from '../statistics/gaussian-moments.js';

/**
 * Fréchet distance of two Gaussians (Dowson & Landau 1982; Heusel et al. 2017 on Inception features):
 *   |μ₁ − μ₂|² + tr Σ₁ + tr Σ₂ − 2·tr (Σ₁Σ₂)^½.
 * With Σᵢ = FᵢᵀFᵢ the last trace is the sum of the singular values of F₁F₂ᵀ: no matrix square root, no complex part, no
 * epsilon on the diagonal, and any n ≥ 2 works. float64 throughout.
 */
export interface FrechetDistance {
  /** What is shown: `raw`, or 0 when it is rounding around zero. */
  readonly value: number;
  /** As computed; may be a tiny negative number. */
  readonly raw: number;
  /** |μ₁ − μ₂|², the part that comes from the means. */
  readonly meanTerm: number;
  /** Rows of each side: part of the metric's name, because the distance shrinks as they grow. */
  readonly n: readonly [number, number];
}

/** |raw| below this share of tr Σ₁ + tr Σ₂ + |Δμ|² is rounding: thousands of float64 sums of that size. */
const ZERO_TOLERANCE = 1e-10;

/** A Gaussian as mean [d] and a factor F [r, d] of its covariance FᵀF. */
interface FactoredGaussian {
  readonly n: number;
  readonly mean: Float64Array;
  readonly factor: Matrix;
}

/** Fréchet distance of two sets of features [n, d] (covariances with n − 1). Throws InvalidInput for n < 2 or other d. */
export function frechetDistance(a: Float32Tensor, b: Float32Tensor): FrechetDistance {
  return distance(factoredFeatures(a), factoredFeatures(b));
}

/** The same from streamed moments. Exact for full-rank covariances; with n ≤ d prefer `frechetDistance`. */
export function frechetDistanceOfMoments(a: GaussianMoments, b: GaussianMoments): FrechetDistance {
  return distance(factoredMoments(a), factoredMoments(b));
}

function factoredFeatures(features: Float32Tensor): FactoredGaussian {
  const [n = 0, d = 0] = features.dims;
  if (features.dims.length !== 2 || n < 2 || d < 1) {
    throw new NibbleflowError('InvalidInput', `a Fréchet distance needs features [n ≥ 2, d], got [${features.dims}]`);
  }
  const mean = columnMeans(features.data, n, d);
  const scale = 1 / Math.sqrt(n - 1);
  const centred = Float64Array.from(features.data, (value, i) => (value - (mean[i % d] as number)) * scale);
  return { n, mean, factor: triangularFactor({ rows: n, cols: d, data: centred }) };
}

function factoredMoments(moments: GaussianMoments): FactoredGaussian {
  return { n: moments.count, mean: moments.mean(), factor: semidefiniteFactor(moments.covariance()) };
}

function distance(a: FactoredGaussian, b: FactoredGaussian): FrechetDistance {
  if (a.mean.length !== b.mean.length) {
    throw new NibbleflowError('InvalidInput', `features differ in size: ${a.mean.length} and ${b.mean.length}`, {
      fix: 'Extract both sets with the same extractor.',
    });
  }
  const delta = a.mean.map((value, j) => value - (b.mean[j] as number));
  const meanTerm = dot(delta, delta);
  const traces = dot(a.factor.data, a.factor.data) + dot(b.factor.data, b.factor.data);
  if (!Number.isFinite(meanTerm + traces)) {
    throw new NibbleflowError('InvalidInput', 'features hold numbers that are not finite');
  }
  const raw = meanTerm + traces - 2 * nuclearNorm(multiplyTransposed(a.factor, b.factor));
  const tolerance = ZERO_TOLERANCE * (meanTerm + traces);
  if (raw < -tolerance) throw new NibbleflowError('Internal', `a Fréchet distance came out negative: ${raw}`);
  return { value: raw <= tolerance ? 0 : raw, raw, meanTerm, n: [a.n, b.n] };
}
