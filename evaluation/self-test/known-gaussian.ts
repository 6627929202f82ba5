import { type Float32Tensor, float32 } from '../../models/tensors/tensor.js';

/**
 * Rows whose mean and covariance are known: for every j the two rows μ ± c·σⱼ·eⱼ with c² = (n − 1)/2, n = 2d. Their mean is μ
 * and their covariance (divisor n − 1) diag σ², so that distances of two such sets have closed forms:
 * Fréchet = |μ₁ − μ₂|² + Σ(σ₁ − σ₂)².
 */
export interface KnownGaussian {
  readonly mean: readonly number[];
  /** Standard deviations. */
  readonly deviation: readonly number[];
}

/** The 2d rows [2d, d]; exact but for their rounding to float32. */
export function knownRows({ mean, deviation }: KnownGaussian): Float32Tensor {
  const d = mean.length;
  if (deviation.length !== d) throw new RangeError(`${d} means and ${deviation.length} deviations`);
  const n = 2 * d;
  const c = Math.sqrt((n - 1) / 2);
  const data = new Float32Array(n * d);
  for (let row = 0; row < n; row += 1) {
    const j = row >> 1;
    for (let column = 0; column < d; column += 1) {
      const step = column === j ? c * (deviation[j] as number) * (row % 2 === 0 ? 1 : -1) : 0;
      data[row * d + column] = (mean[column] as number) + step;
    }
  }
  return float32([n, d], data);
}

/** |μ₁ − μ₂|² + Σ(σ₁ − σ₂)²: the Fréchet distance of two Gaussians with diagonal covariances. */
export function diagonalFrechetDistance(a: KnownGaussian, b: KnownGaussian): number {
  const squares = (x: readonly number[], y: readonly number[]): number =>
    x.reduce((sum, value, j) => sum + (value - (y[j] as number)) ** 2, 0);
  return squares(a.mean, b.mean) + squares(a.deviation, b.deviation);
}
