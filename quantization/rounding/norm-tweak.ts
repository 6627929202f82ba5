import { type Breathe, withoutPause } from '../../models/linalg/breathe.js';
import { choleskyFactor, solveWithFactor } from '../../models/linalg/cholesky.js';
import { type Matrix, zeroMatrix } from '../../models/linalg/matrix.js';

/**
 * Norm tweaking in closed form (after Li et al., Norm Tweaking, AAAI 2024): a factor s for each channel of a value x that feeds
 * layers, put into the norm or scaling that computes x, so that quantized layers come nearest to the float ones:
 *
 *   min_s Σ_l E|W_l x − Q_l diag(s) x|² + λ|s − 1|²   ⇒   (G + λ I) s = b + λ 1
 *   G = X ∘ Σ_l Q_lᵀ Q_l,   b = diag(X Σ_l W_lᵀ Q_l),   X = E[x xᵀ],   λ = 0.01 · mean diag G
 *
 * Kernel taps of a convolution count as layers of their own: pixels are taken for independent.
 */
export interface TweakProblem {
  /** X, [C, C]. */
  readonly inputs: Matrix;
  /** Float and quantized weight of each layer, [Co, taps · C], tap after tap. */
  readonly layers: readonly { readonly float: Matrix; readonly quantized: Matrix }[];
}

const RIDGE = 0.01;

export async function normTweak(
  { inputs, layers }: TweakProblem,
  breathe: Breathe = withoutPause,
): Promise<Float64Array> {
  const channels = inputs.rows;
  const own = zeroMatrix(channels, channels);
  const mixed = zeroMatrix(channels, channels);
  for (const { float, quantized } of layers) {
    await addProduct(own, quantized, quantized, breathe);
    await addProduct(mixed, float, quantized, breathe);
  }
  const system = { ...own, data: own.data.map((value, at) => value * (inputs.data[at] as number)) };
  const right = new Float64Array(channels);
  for (let i = 0; i < channels; i += 1) {
    for (let j = 0; j < channels; j += 1) {
      right[i] =
        (right[i] as number) + (inputs.data[i * channels + j] as number) * (mixed.data[j * channels + i] as number);
    }
  }
  let trace = 0;
  for (let i = 0; i < channels; i += 1) trace += system.data[i * (channels + 1)] as number;
  if (!(trace > 0)) return new Float64Array(channels).fill(1);
  const ridge = (RIDGE * trace) / channels;
  for (let i = 0; i < channels; i += 1) {
    system.data[i * (channels + 1)] = (system.data[i * (channels + 1)] as number) + ridge;
    right[i] = (right[i] as number) + ridge;
  }
  return solveWithFactor(choleskyFactor(system), right);
}

/** sum += Aᵀ B over output channels and taps. */
async function addProduct(sum: Matrix, a: Matrix, b: Matrix, breathe: Breathe): Promise<void> {
  const channels = sum.rows;
  for (let from = 0; from < a.data.length; from += channels) {
    await breathe();
    for (let i = 0; i < channels; i += 1) {
      const value = a.data[from + i] as number;
      if (value === 0) continue;
      for (let j = 0; j < channels; j += 1) {
        sum.data[i * channels + j] = (sum.data[i * channels + j] as number) + value * (b.data[from + j] as number);
      }
    }
  }
}
