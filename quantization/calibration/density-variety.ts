import { type Breathe, withoutPause } from '../../models/linalg/breathe.js';
import type { Float32Tensor } from '../../models/tensors/tensor.js';

/**
 * How many calibration samples each timestep gets (the temporally and distribution-aligned allotment of EDA-DM, Liu et al.,
 * arXiv 2401.04585), from one feature of the float model at every step t:
 *
 *   D_t = #{ s ≠ t : mean((f_t − f_s)²) ≤ r }          density: steps that look like t
 *   V_t = Σ_s (1 − cos(f_t, f_s))                        variety: how far t is from all others; cos over channels, mean over the rest
 *   w_t = norm(D)_t + λ · norm(V)_t,   norm(x) = (x − min) / (max − min)
 *   n_t = round(N · w_t / Σ w),   the difference to N then given to, or taken from, the largest weights, one each
 */
export interface AllotmentOptions {
  /** The feature at every step: equal dims, all trajectories and branches together. */
  readonly features: readonly Float32Tensor[];
  /** Axis of the channels in the features' dims. */
  readonly channelAxis: number;
  /** r */
  readonly radius: number;
  /** λ */
  readonly varietyWeight: number;
  /** N */
  readonly samples: number;
}

export interface Allotment {
  readonly density: readonly number[];
  readonly variety: readonly number[];
  readonly weights: readonly number[];
  /** Samples by step; their sum is N. */
  readonly counts: readonly number[];
}

/** @throws RangeError without steps */
export async function allotSteps(options: AllotmentOptions, breathe: Breathe = withoutPause): Promise<Allotment> {
  const { features, channelAxis, radius, varietyWeight, samples } = options;
  if (features.length === 0) throw new RangeError('there are no steps to allot samples to');
  const density: number[] = [];
  const variety: number[] = [];
  for (const one of features) {
    let [alike, far] = [0, 0];
    for (const other of features) {
      if (other === one) continue;
      await breathe();
      if (meanSquare(one, other) <= radius) alike += 1;
      far += 1 - meanCosine(one, other, channelAxis);
    }
    density.push(alike);
    variety.push(far);
  }
  const dense = normalised(density);
  const varied = normalised(variety);
  const weights = dense.map((value, t) => value + varietyWeight * (varied[t] ?? 0));
  return { density, variety, weights, counts: countsFor(weights, samples) };
}

/** Whole numbers that are proportional to the weights and add up to `samples`; even ones when all weights are 0. */
export function countsFor(weights: readonly number[], samples: number): number[] {
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const shares = weights.map((weight) => (total > 0 ? weight / total : 1 / weights.length));
  const counts = shares.map((share) => Math.round(samples * share));
  const order = [...shares.keys()].sort((a, b) => (shares[b] ?? 0) - (shares[a] ?? 0) || a - b);
  let missing = samples - counts.reduce((sum, count) => sum + count, 0);
  for (let at = 0; missing !== 0; at = (at + 1) % order.length) {
    const step = order[at] ?? 0;
    const change = Math.sign(missing);
    if ((counts[step] ?? 0) + change < 0) continue;
    counts[step] = (counts[step] ?? 0) + change;
    missing -= change;
  }
  return counts;
}

function normalised(values: readonly number[]): number[] {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  return values.map((value) => (high > low ? (value - low) / (high - low) : 0));
}

function meanSquare(a: Float32Tensor, b: Float32Tensor): number {
  let sum = 0;
  for (let at = 0; at < a.data.length; at += 1) sum += ((a.data[at] as number) - (b.data[at] as number)) ** 2;
  return sum / a.data.length;
}

/** Mean over all positions of the cosine between the two vectors of channels; 1 where one of them is 0. */
function meanCosine(a: Float32Tensor, b: Float32Tensor, channelAxis: number): number {
  const axis = channelAxis < 0 ? channelAxis + a.dims.length : channelAxis;
  const channels = a.dims[axis] ?? 1;
  const inner = a.dims.slice(axis + 1).reduce((product, dim) => product * dim, 1);
  const positions = a.data.length / channels;
  let sum = 0;
  for (let position = 0; position < positions; position += 1) {
    const start = Math.floor(position / inner) * channels * inner + (position % inner);
    let [dot, left, right] = [0, 0, 0];
    for (let at = start; at < start + channels * inner; at += inner) {
      const [x, y] = [a.data[at] as number, b.data[at] as number];
      dot += x * y;
      left += x * x;
      right += y * y;
    }
    sum += left > 0 && right > 0 ? dot / Math.sqrt(left * right) : 1;
  }
  return sum / positions;
}
