import { NibbleflowError } from '../../contracts/errors.js';
import type { Breathe } from '../../models/linalg/breathe.js';
import { dot } from '../../models/linalg/matrix.js';
import type { HeldMatrices, HeldMatrix } from '../linalg/held-matrices.js';
import { nuclearNormFrom, polarFactor, type ScaledMatrix } from '../linalg/polar-factor.js';
import type { GaussianSide } from './gaussian-side.js';

/**
 * Fréchet distance of two Gaussians from factors of their covariances, Σᵢ = FᵢᵀFᵢ, M = F₁F₂ᵀ (Dowson & Landau 1982):
 *   |μ₁ − μ₂|² + |F₁|² + |F₂|² − 2·|M|_*,
 * the nuclear norm from the polar factor of M (polar-factor.ts): no matrix square root, no complex number, no epsilon. It is the
 * squared distance |F₁ − W·F₂|² for the best W, so it is never negative but by rounding, whatever F₁ and F₂ lost before.
 */
export interface SidesDistance {
  /** What is shown: `raw`, or 0 when it is rounding around zero. */
  readonly value: number;
  /** As computed; may be a tiny negative number. */
  readonly raw: number;
  /** |μ₁ − μ₂|² */
  readonly meanTerm: number;
  /** μ₁ − μ₂ */
  readonly delta: Float64Array;
  /** F₁F₂ᵀ and its polar factor. */
  readonly cross: HeldMatrix;
  readonly polar: ScaledMatrix;
}

/** |raw| below this share of |Δμ|² + tr Σ₁ + tr Σ₂ is rounding: thousands of float64 sums of that size. */
export const ZERO_TOLERANCE = 1e-10;

/** Of the smallest pivots' product: the smallest singular value is half of it on features like Inception's. */
const PIVOT_SHARE = 0.1;

/** @throws NibbleflowError InvalidInput when the sides differ in size or are not finite */
export async function frechetOfSides(
  a: GaussianSide,
  b: GaussianSide,
  held: HeldMatrices,
  breathe: Breathe,
): Promise<SidesDistance> {
  if (a.mean.length !== b.mean.length) {
    throw new NibbleflowError('InvalidInput', `features differ in size: ${a.mean.length} and ${b.mean.length}`, {
      fix: 'Extract both sets with the same extractor.',
    });
  }
  const delta = a.mean.map((value, j) => value - (b.mean[j] as number));
  const meanTerm = dot(delta, delta);
  const scale = meanTerm + a.trace + b.trace;
  if (!Number.isFinite(scale)) throw new NibbleflowError('InvalidInput', 'features hold numbers that are not finite');
  const cross = await held.product(a.factor, b.factor, { turnB: true });
  await breathe();
  const guess = PIVOT_SHARE * a.smallestPivot * b.smallestPivot;
  const polar = await polarFactor(cross, held, breathe, guess);
  const raw = scale - 2 * (await nuclearNormFrom(cross, polar, held));
  const tolerance = ZERO_TOLERANCE * scale;
  if (raw < -tolerance) throw new NibbleflowError('Internal', `a Fréchet distance came out negative: ${raw}`);
  return { value: raw <= tolerance ? 0 : raw, raw, meanTerm, delta, cross, polar };
}
