import type { Float32Tensor } from '../../models/tensors/tensor.js';
import { trainableName } from '../conversion/lower-to-float.js';
import type { QuantizedParameters } from '../quantized-parameters.js';

/** The parameters with trained values put in; `trained` is by training-graph input name. */
export function mergeTrained(
  parameters: QuantizedParameters,
  trained: ReadonlyMap<string, Float32Tensor>,
): QuantizedParameters {
  const weights = new Map(
    [...parameters.weights].map(([layer, held]) => [
      layer,
      {
        weight: trained.get(trainableName.weight(layer)) ?? held.weight,
        scales: trained.get(trainableName.scales(layer)) ?? held.scales,
        bias: trained.get(trainableName.bias(layer)) ?? held.bias,
      },
    ]),
  );
  const activations = new Map(
    [...parameters.activations].map(([id, held]) => [
      id,
      { ...held, scale: trained.get(trainableName.range(id)) ?? held.scale },
    ]),
  );
  return { timesteps: parameters.timesteps, weights, activations };
}
