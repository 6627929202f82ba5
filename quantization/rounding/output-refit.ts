import { type Float32Tensor, float32 } from '../../models/tensors/tensor.js';
import { forEachMember, scaleLayout } from '../formats/integer-grid.js';
import type { PlannedWeight } from '../layer-plan.js';
import type { WeightParameters } from '../quantized-parameters.js';
import { weightSpread } from './weight-scales.js';

/**
 * Refit of a layer's output in closed form: for each output channel the scale and shift that bring the quantized layer
 * ŷ = Ŵ x̂ nearest to the float one, y = W x, over calibration inputs,
 *
 *   min Σ (y − s ŷ − t)² + λ (s − 1)²   ⇒   s = (cov(y, ŷ) + λ) / (var(ŷ) + λ),  t = ȳ − s ŷ̄,  λ = 0.01 · mean var(ŷ)
 *
 * (bias correction, Nagel et al., ICCV 2019, §4.2, with a slope). s goes into the scales, so no code changes; t into the bias.
 * A layer without a bias of its own gets s = (Σ y ŷ + λ) / (Σ ŷ² + λ) alone.
 */
export interface OutputMoments {
  /** Means over all positions, per output channel: y, ŷ, y ŷ, ŷ². */
  readonly float: Float64Array;
  readonly quantized: Float64Array;
  readonly product: Float64Array;
  readonly square: Float64Array;
}

const RIDGE = 0.01;
/** Slopes beyond these say that statistics are too thin, not that the layer is so wrong. */
const SLOPES = { least: 0.5, largest: 2 } as const;

export interface OutputRefit {
  readonly slope: Float64Array;
  /** All 0 without a bias. */
  readonly shift: Float64Array;
}

export function refitOf(moments: OutputMoments, hasBias: boolean): OutputRefit {
  const { float, quantized, product, square } = moments;
  const centre = (sum: number, a: number, b: number): number => (hasBias ? sum - a * b : sum);
  const spread = square.map((value, at) =>
    Math.max(0, centre(value, quantized[at] as number, quantized[at] as number)),
  );
  const ridge = (RIDGE * spread.reduce((sum, value) => sum + value, 0)) / spread.length;
  const slope = spread.map((value, at) => {
    const shared = centre(product[at] as number, float[at] as number, quantized[at] as number);
    const found = value + ridge > 0 ? (shared + ridge) / (value + ridge) : 1;
    return Math.min(SLOPES.largest, Math.max(SLOPES.least, found));
  });
  const shift = slope.map((value, at) => (hasBias ? (float[at] as number) - value * (quantized[at] as number) : 0));
  return { slope, shift };
}

/** The same codes under scales and a bias that were refitted. */
export function applyRefit(
  held: WeightParameters,
  weight: PlannedWeight,
  { slope, shift }: OutputRefit,
): WeightParameters {
  const scaled = held.weight.data.map(
    (value, at) => value * (slope[channelAt(weight.dims, weight.outputAxis, at)] as number),
  );
  return {
    weight: float32(held.weight.dims, scaled),
    scales: scaledScales(held.scales, weight, slope),
    bias:
      held.bias === null
        ? null
        : float32(
            held.bias.dims,
            held.bias.data.map((value, at) => value + (shift[at] as number)),
          ),
  };
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
