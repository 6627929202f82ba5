import { NibbleflowError } from '../contracts/errors.js';
import { asFloat32, type Float32Tensor, float32, type Tensor } from '../models/tensors/tensor.js';

/**
 * What was found for a plan: master weights and their scales per layer, activation ranges per quantizer. Rounding makes the
 * first version, finetuning a better one, conversion turns either into codes.
 */
export interface QuantizedParameters {
  /** Calibrated timesteps, descending like a sampler's; the rows of every table. */
  readonly timesteps: readonly number[];
  /** By layer name. */
  readonly weights: ReadonlyMap<string, WeightParameters>;
  /** By quantizer id; dynamic quantizers have no entry. */
  readonly activations: ReadonlyMap<string, ActivationParameters>;
}

export interface WeightParameters {
  /** Float weight; its codes are clamp(round(weight / scale)). */
  readonly weight: Float32Tensor;
  /** Shaped for DequantizeLinear (rounding/weight-scales.ts). */
  readonly scales: Float32Tensor;
  readonly bias: Float32Tensor | null;
}

export interface ActivationParameters {
  /** [T] for tables, [1] for a static range. */
  readonly scale: Float32Tensor;
  /** Same dims, whole numbers; all 0 for symmetric grids. */
  readonly zeroPoint: Float32Tensor;
}

/** Flat tensors by name, for a safetensors artifact. */
export function tensorsFromParameters(parameters: QuantizedParameters): Map<string, Tensor> {
  const tensors = new Map<string, Tensor>([
    ['timesteps', float32([parameters.timesteps.length], parameters.timesteps)],
  ]);
  for (const [layer, { weight, scales, bias }] of parameters.weights) {
    tensors.set(`weights/${layer}/weight`, weight);
    tensors.set(`weights/${layer}/scales`, scales);
    if (bias !== null) tensors.set(`weights/${layer}/bias`, bias);
  }
  for (const [id, { scale, zeroPoint }] of parameters.activations) {
    tensors.set(`activations/${id}/scale`, scale);
    tensors.set(`activations/${id}/zeroPoint`, zeroPoint);
  }
  return tensors;
}

/** The reverse of `tensorsFromParameters`; throws MissingArtifact when tensors are missing. */
export function parametersFromTensors(tensors: ReadonlyMap<string, Tensor>): QuantizedParameters {
  const get = (name: string): Float32Tensor => {
    const found = tensors.get(name);
    if (found === undefined)
      throw new NibbleflowError('MissingArtifact', 'Quantized parameters are incomplete', { where: name });
    return asFloat32(found);
  };
  const weights = new Map<string, WeightParameters>();
  const activations = new Map<string, ActivationParameters>();
  for (const name of tensors.keys()) {
    const [room, key, field] = name.split('/');
    if (key === undefined) continue;
    if (room === 'weights' && field === 'weight') {
      const bias = tensors.get(`weights/${key}/bias`);
      weights.set(key, {
        weight: get(name),
        scales: get(`weights/${key}/scales`),
        bias: bias === undefined ? null : asFloat32(bias),
      });
    }
    if (room === 'activations' && field === 'scale') {
      activations.set(key, { scale: get(name), zeroPoint: get(`activations/${key}/zeroPoint`) });
    }
  }
  return { timesteps: Array.from(get('timesteps').data), weights, activations };
}
