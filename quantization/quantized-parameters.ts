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
  /** By layer name: float side branches. The layer's `weight` is then what is left of the float weight. */
  readonly branches: ReadonlyMap<string, LowRankBranch>;
  /** By initializer of the graph: constants of norms and scalings that were changed along (rounding/tweak-norms.ts). */
  readonly norms?: ReadonlyMap<string, Float32Tensor>;
}

/** up · down of rank r, added to a layer's output. Every number is exact in float16, which is how it is stored. */
export interface LowRankBranch {
  /** Conv: [r, Ci, k, …], a convolution like the layer's. Otherwise [Ci, r]. */
  readonly down: Float32Tensor;
  /** Conv: [Co, r, 1, …], pointwise. Otherwise [r, Co]. */
  readonly up: Float32Tensor;
}

export interface WeightParameters {
  /** Float weight; its codes are clamp(round(weight / scale)). */
  readonly weight: Float32Tensor;
  /** Shaped for DequantizeLinear (rounding/weight-scales.ts). */
  readonly scales: Float32Tensor;
  readonly bias: Float32Tensor | null;
}

export interface ActivationParameters {
  /** [T] for tables, [1] for a static range; with a spread [T, E] or, in groups, [T, G], T = 1 for static ranges. */
  readonly scale: Float32Tensor;
  /** Same dims, whole numbers; all 0 for symmetric grids. */
  readonly zeroPoint: Float32Tensor;
  /** Present when a row has an entry per channel, pixel or token. */
  readonly spread?: {
    /** The axes of the value that the E entries count, row-major. */
    readonly axes: readonly number[];
    readonly groups: RangeGroups | null;
  };
}

/** [T, E]: which of a row's G ranges an entry has. */
export type RangeGroups = Tensor<'uint8'>;

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
  for (const [id, { scale, zeroPoint, spread }] of parameters.activations) {
    tensors.set(`activations/${id}/scale`, scale);
    tensors.set(`activations/${id}/zeroPoint`, zeroPoint);
    if (spread === undefined) continue;
    tensors.set(`activations/${id}/axes`, float32([spread.axes.length], spread.axes));
    if (spread.groups !== null) tensors.set(`activations/${id}/groups`, spread.groups);
  }
  for (const [name, value] of parameters.norms ?? []) tensors.set(`norms/${encodeURIComponent(name)}`, value);
  for (const [layer, { down, up }] of parameters.branches) {
    tensors.set(`branches/${layer}/down`, down);
    tensors.set(`branches/${layer}/up`, up);
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
  const branches = new Map<string, LowRankBranch>();
  const norms = new Map<string, Float32Tensor>();
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
      const range = { scale: get(name), zeroPoint: get(`activations/${key}/zeroPoint`) };
      const axes = tensors.get(`activations/${key}/axes`);
      const groups = (tensors.get(`activations/${key}/groups`) as RangeGroups | undefined) ?? null;
      const spread = axes === undefined ? {} : { spread: { axes: Array.from(asFloat32(axes).data), groups } };
      activations.set(key, { ...range, ...spread });
    }
    if (room === 'norms') norms.set(decodeURIComponent(key), get(name));
    if (room === 'branches' && field === 'down') {
      branches.set(key, { down: get(name), up: get(`branches/${key}/up`) });
    }
  }
  return {
    timesteps: Array.from(get('timesteps').data),
    weights,
    activations,
    branches,
    ...(norms.size > 0 ? { norms } : {}),
  };
}
