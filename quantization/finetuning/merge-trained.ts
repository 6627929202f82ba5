import { type Float32Tensor, float32 } from '../../models/tensors/tensor.js';
import { trainableName } from '../conversion/lower-to-float.js';
import type { QuantizationPlan } from '../layer-plan.js';
import type { QuantizedParameters, WeightParameters } from '../quantized-parameters.js';
import { weightFromUnits } from './weight-units.js';

/**
 * The parameters that trained values stand for; `trained` is by training-graph input name, `start` is what the phase started
 * with. Layers and tables without trained values stay as they are.
 */
export function mergeTrained(
  plan: QuantizationPlan,
  start: QuantizedParameters,
  trained: ReadonlyMap<string, Float32Tensor>,
): QuantizedParameters {
  const weights = new Map<string, WeightParameters>(start.weights);
  for (const { name, weight } of plan.layers) {
    const held = start.weights.get(name);
    const codes = trained.get(trainableName.weight(name));
    const factor = trained.get(trainableName.scales(name));
    if (weight === null || held === undefined || codes === undefined || factor === undefined) continue;
    const shift = trained.get(trainableName.bias(name)) ?? null;
    weights.set(name, weightFromUnits({ codes, factor, shift }, held, weight));
  }
  const activations = new Map(
    [...start.activations].map(([id, held]) => {
      const factor = trained.get(trainableName.range(id));
      const scale = factor === undefined ? held.scale : product(held.scale, factor);
      return [id, { ...held, scale }];
    }),
  );
  return { ...start, weights, activations };
}

function product(a: Float32Tensor, b: Float32Tensor): Float32Tensor {
  return float32(
    a.dims,
    a.data.map((value, index) => value * (b.data[index] as number)),
  );
}
