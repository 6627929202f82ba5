import { float16FromFloat32 } from '../tensors/float16.js';
import { type Float32Tensor, type Tensor, tensor } from '../tensors/tensor.js';
import type { Denoiser } from './pipeline.js';

/** Element types that a timestep input may have. */
export const TIMESTEP_TYPES = ['int64', 'int32', 'float32', 'float16', 'float64'] as const;

export interface DenoiserInputs {
  /** x_t as the sampler scaled it, [B, C, H, W]. */
  readonly sample: Float32Tensor;
  /** One timestep for all samples, or one per sample. */
  readonly timestep: number | readonly number[];
  /** [B, S, D]; null for models without text. */
  readonly conditioning: Float32Tensor | null;
  readonly classLabels: readonly number[] | null;
}

/**
 * The denoiser's feeds, in the element types and with the number of timesteps that its graph asks for. Timesteps of models
 * with integer timesteps are rounded to the nearest integer.
 * @throws RangeError when the graph takes one timestep only and several different ones are given
 */
export function denoiserFeeds(denoiser: Denoiser, inputs: DenoiserInputs): Record<string, Tensor> {
  const names = denoiser.inputs;
  const rows = inputs.sample.dims[0] ?? 0;
  const feeds: Record<string, Tensor> = { [names.sample]: floatFeed(denoiser.sampleType, inputs.sample) };
  if (names.timestep !== null) feeds[names.timestep] = timestepFeed(denoiser, inputs.timestep, rows);
  if (names.conditioning !== null && inputs.conditioning !== null) {
    feeds[names.conditioning] = floatFeed(denoiser.conditioningType ?? 'float32', inputs.conditioning);
  }
  if (names.classLabels !== null && inputs.classLabels !== null) {
    feeds[names.classLabels] = numbersAs(denoiser.classLabelType ?? 'int64', [rows], inputs.classLabels);
  }
  return feeds;
}

/** A float32 tensor in the type an input asks for. */
export function floatFeed(type: 'float32' | 'float16', value: Float32Tensor): Tensor {
  return type === 'float16' ? float16FromFloat32(value) : value;
}

function timestepFeed(denoiser: Denoiser, timestep: number | readonly number[], rows: number): Tensor {
  const type = denoiser.timestepType ?? 'int64';
  const values = typeof timestep === 'number' ? [timestep] : timestep;
  const [first = 0] = values;
  if (values.length !== 1 && values.length !== rows) {
    throw new RangeError(`${values.length} timesteps were given for ${rows} samples`);
  }
  const same = values.every((value) => value === first);
  if (denoiser.timestepRows === 'batch') {
    return numbersAs(type, [rows], same ? Array.from({ length: rows }, () => first) : values);
  }
  if (same) return numbersAs(type, denoiser.timestepRows === 'scalar' ? [] : [1], [first]);
  if (denoiser.timestepRows === 'one-or-batch') return numbersAs(type, [rows], values);
  throw new RangeError('this denoiser takes one timestep for the whole batch');
}

/** Numbers as a tensor of a type; integers are rounded to the nearest. */
export function numbersAs(
  type: (typeof TIMESTEP_TYPES)[number],
  dims: readonly number[],
  values: readonly number[],
): Tensor {
  switch (type) {
    case 'int64':
      return tensor(
        'int64',
        dims,
        BigInt64Array.from(values, (value) => BigInt(Math.round(value))),
      );
    case 'int32':
      return tensor('int32', dims, Int32Array.from(values, Math.round));
    case 'float32':
      return tensor('float32', dims, Float32Array.from(values));
    case 'float16':
      return float16FromFloat32(tensor('float32', dims, Float32Array.from(values)));
    case 'float64':
      return tensor('float64', dims, Float64Array.from(values));
  }
}
