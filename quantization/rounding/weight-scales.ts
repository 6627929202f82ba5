import { type Float32Tensor, float32 } from '../../models/tensors/tensor.js';
import {
  codeRange,
  forEachMember,
  roundHalfToEven,
  SCALE_EPSILON,
  type ScaleMembers,
  type ScaleSpread,
  scaleLayout,
  symmetricScale,
} from '../formats/integer-grid.js';
import type { WeightScheme } from '../layer-plan.js';

/**
 * Scales of symmetric weight grids.
 *
 *   absmax: s = max|w| / (2^(b−1) − ½)
 *   mse:    s = argmin over c of Σ (w − s_c · clamp(roundHalfToEven(w / s_c)))²,  s_c = c · s_absmax, c = 1, 0.99 … 0.21
 *
 * The candidates are those of Q-Diffusion's and QuEST's range search; they score |error|^2.4, nibbleflow scores the squared
 * error because that is what the layer's output error is made of (independent inputs: E|Wx − Ŵx|² ∝ Σ(w − ŵ)²).
 */

export interface WeightAxes {
  /** Axis of the output channels. */
  readonly outputAxis: number;
  /** Axis of the input channels, along which groups lie. */
  readonly inputAxis: number;
  readonly scheme: WeightScheme;
}

/** Shrink factors 1, 0.99, … 0.21. */
const SHRINK_CANDIDATES = 80;
const SHRINK_STEP = 0.01;

/** The axis and block size of DequantizeLinear for a weight of this scheme. */
export function weightSpread(axes: WeightAxes): ScaleSpread {
  return axes.scheme.groupSize === null
    ? { axis: axes.outputAxis, blockSize: null }
    : { axis: axes.inputAxis, blockSize: axes.scheme.groupSize };
}

/** Dims of the scales: [output channels], or the weight's dims with the input axis divided by the group size. */
export function weightScaleDims(dims: readonly number[], axes: WeightAxes): readonly number[] {
  checkGroups(dims, axes);
  return scaleLayout(dims, weightSpread(axes)).dims;
}

/**
 * One positive scale per output channel or group, shaped for DequantizeLinear with the axis and block size of `weightSpread`:
 * [output channels], or the weight's dims with `inputAxis` divided by the group size (conv [Co, Ci, k, k] → [Co, Ci/g, k, k]).
 * Throws RangeError when groups do not divide the axis or a weight is not finite.
 */
export function weightScales(weight: Float32Tensor, axes: WeightAxes): Float32Tensor {
  checkGroups(weight.dims, axes);
  const layout = scaleLayout(weight.dims, weightSpread(axes));
  const scales = new Float32Array(layout.count);
  const buffer = new Float32Array(weight.data.length / Math.max(1, layout.count));
  for (let index = 0; index < layout.count; index += 1) {
    gather(weight.data, layout.membersOf(index), buffer);
    const widest = symmetricScale(absmaxOf(buffer), axes.scheme.bits);
    scales[index] = axes.scheme.range === 'absmax' ? widest : bestShrunkScale(buffer, widest, axes.scheme.bits);
  }
  return float32(layout.dims, scales);
}

function checkGroups(dims: readonly number[], { inputAxis, scheme }: WeightAxes): void {
  const channels = dims[inputAxis] ?? 0;
  if (scheme.groupSize !== null && channels % scheme.groupSize !== 0) {
    throw new RangeError(`groups of ${scheme.groupSize} do not divide ${channels} input channels`);
  }
}

function gather(data: Float32Array, members: ScaleMembers, into: Float32Array): void {
  let next = 0;
  forEachMember(members, (index) => {
    into[next] = data[index] as number;
    next += 1;
  });
}

function absmaxOf(values: Float32Array): number {
  let largest = 0;
  for (const value of values) {
    const size = Math.abs(value);
    if (!(size <= largest)) largest = size;
  }
  return largest;
}

/** The candidate scale with the smallest squared error; the widest one of equals. */
function bestShrunkScale(values: Float32Array, widest: number, bits: number): number {
  let best = widest;
  let bestError = Number.POSITIVE_INFINITY;
  for (let candidate = 0; candidate < SHRINK_CANDIDATES; candidate += 1) {
    const scale = Math.fround(Math.max(SCALE_EPSILON, widest * (1 - SHRINK_STEP * candidate)));
    const error = squaredError(values, scale, bits, bestError);
    if (error < bestError) {
      best = scale;
      bestError = error;
    }
  }
  return best;
}

/** Σ (w − ŵ)² on the signed grid; stops early, with a value ≥ `limit`, once it cannot win. */
function squaredError(values: Float32Array, scale: number, bits: number, limit: number): number {
  const { min, max } = codeRange({ bits, signed: true });
  let sum = 0;
  for (const value of values) {
    const code = Math.min(max, Math.max(min, roundHalfToEven(value / scale)));
    const error = value - code * scale;
    sum += error * error;
    if (sum >= limit) return sum;
  }
  return sum;
}
