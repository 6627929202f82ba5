import { type Float32Tensor, float32, zeros } from '../../models/tensors/tensor.js';
import { forEachMember, scaleLayout } from '../formats/integer-grid.js';
import type { PlannedWeight } from '../layer-plan.js';
import type { WeightParameters } from '../quantized-parameters.js';
import { weightSpread } from '../rounding/weight-scales.js';

/**
 * A layer's trainables in units of its own grid, so that one learning rate fits every layer:
 *
 *   codes = w / s        a learning rate of 1e-3 is a thousandth of a step of the grid
 *   factor = s / s₀      relative to the scales the phase starts with, 1 at first
 *   shift = (b − b₀) / s̄  with s̄ the layer's mean scale, 0 at first
 *
 * EfficientDM (He et al., ICLR 2024, §3.2) divides learning rates by the scale for the same reason.
 */
export interface WeightUnits {
  readonly codes: Float32Tensor;
  readonly factor: Float32Tensor;
  readonly shift: Float32Tensor | null;
}

/** The trainables that stand for `held`. */
export function unitsFromWeight(held: WeightParameters, weight: PlannedWeight): WeightUnits {
  return {
    codes: timesScales(held.weight, held.scales, weight, (value, scale) => value / scale),
    factor: float32(held.scales.dims, new Float32Array(held.scales.data.length).fill(1)),
    shift: held.bias === null ? null : zeros('float32', held.bias.dims),
  };
}

/** What trained units stand for, where `held` is what the phase started with. */
export function weightFromUnits(units: WeightUnits, held: WeightParameters, weight: PlannedWeight): WeightParameters {
  const scales = float32(
    held.scales.dims,
    held.scales.data.map((scale, index) => scale * (units.factor.data[index] as number)),
  );
  const unit = biasUnit(held);
  const bias = held.bias;
  return {
    weight: timesScales(units.codes, scales, weight, (code, scale) => code * scale),
    scales,
    bias:
      bias === null || units.shift === null ? bias : float32(bias.dims, addScaled(bias.data, units.shift.data, unit)),
  };
}

/** s̄, the mean scale of a layer, as float32. */
export function biasUnit(held: WeightParameters): number {
  let sum = 0;
  for (const scale of held.scales.data) sum += scale;
  return Math.fround(sum / held.scales.data.length);
}

function addScaled(base: Float32Array, change: Float32Array, unit: number): Float32Array {
  return base.map((value, index) => value + Math.fround((change[index] as number) * unit));
}

function timesScales(
  value: Float32Tensor,
  scales: Float32Tensor,
  weight: PlannedWeight,
  combine: (value: number, scale: number) => number,
): Float32Tensor {
  const layout = scaleLayout(value.dims, weightSpread(weight));
  const result = new Float32Array(value.data.length);
  for (let index = 0; index < layout.count; index += 1) {
    const scale = scales.data[index] as number;
    forEachMember(layout.membersOf(index), (at) => {
      result[at] = combine(value.data[at] as number, scale);
    });
  }
  return float32(value.dims, result);
}
