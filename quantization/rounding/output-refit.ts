import { type Float32Tensor, float32 } from '../../models/tensors/tensor.js';
import { forEachMember, scaleLayout } from '../formats/integer-grid.js';
import type { PlannedWeight } from '../layer-plan.js';
import type { WeightParameters } from '../quantized-parameters.js';
import { weightSpread } from './weight-scales.js';

/**
 * Refit of a layer's output in closed form: for each output channel the slope that brings the quantized layer ŷ = Ŵ x̂ nearest to
 * the float one, y = W x, over calibration inputs,
 *
 *   min Σ (y − s ŷ)² + λ (s − 1)²   ⇒   s = (Σ y ŷ + λ) / (Σ ŷ² + λ),   λ = 0.01 · mean over channels of Σ ŷ²
 *
 * It goes into the scales, so no code changes and nothing is added to the model. The shift of the mean that usually comes with
 * it (bias correction, Nagel et al., ICCV 2019, §4.2) is left out: it more than doubled the network's error here, because the
 * mean is that of the pixels that do not matter (docs/numerics.md).
 */
export interface OutputMoments {
  /** Means of y ŷ and ŷ² over all positions, per output channel. */
  readonly product: Float64Array;
  readonly square: Float64Array;
}

const RIDGE = 0.01;
/** Slopes beyond these say that statistics are too thin, not that the layer is so wrong. */
const SLOPES = { least: 0.5, largest: 2 } as const;

/** s per output channel. */
export function refitOf({ product, square }: OutputMoments): Float64Array {
  const ridge = (RIDGE * square.reduce((sum, value) => sum + value, 0)) / square.length;
  return square.map((value, at) => {
    const slope = value + ridge > 0 ? ((product[at] as number) + ridge) / (value + ridge) : 1;
    return Math.min(SLOPES.largest, Math.max(SLOPES.least, slope));
  });
}

/** The same codes under scales times the slopes. */
export function applyRefit(held: WeightParameters, weight: PlannedWeight, slope: Float64Array): WeightParameters {
  const scaled = held.weight.data.map(
    (value, at) => value * (slope[channelAt(weight.dims, weight.outputAxis, at)] as number),
  );
  return { ...held, weight: float32(held.weight.dims, scaled), scales: scaledScales(held.scales, weight, slope) };
}

function scaledScales(scales: Float32Tensor, weight: PlannedWeight, slope: Float64Array): Float32Tensor {
  const layout = scaleLayout(weight.dims, weightSpread(weight));
  const data = scales.data.map((scale, index) => {
    let first = -1;
    forEachMember(layout.membersOf(index), (at) => {
      if (first < 0) first = at;
    });
    return scale * (slope[channelAt(weight.dims, weight.outputAxis, first)] as number);
  });
  return float32(scales.dims, data);
}

function channelAt(dims: readonly number[], axis: number, at: number): number {
  const inner = dims.slice(axis + 1).reduce((product, dim) => product * dim, 1);
  return Math.floor(at / inner) % (dims[axis] ?? 1);
}
