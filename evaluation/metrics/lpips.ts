import { NibbleflowError } from '../../contracts/errors.js';
import type { Runnable } from '../../models/executor.js';
import { asFloat32, type Float32Tensor } from '../../models/tensors/tensor.js';
import { extractorInput, type PictureList, singlePictures } from '../features/extractor-input.js';
import { batchSizeOf, type ExtractorSpec } from '../features/extractor-spec.js';
import type { ResizeMode } from '../features/resize-modes.js';

/**
 * LPIPS-style distance of two pictures (Zhang, Isola, Efros, Shechtman & Wang 2018) on any extractor:
 *   d = Σ_layers 1/(h·w) Σ_positions Σ_channels w_c · (a_c/|a| − b_c/|b|)²
 * where a and b are the layer's channels at a position and |a| their Euclidean length. Weights are the extractor's, or 1. It
 * is LPIPS itself only with its networks and trained weights, hence the name `lpips[<extractor>@<digest>]`.
 */

/** Added to lengths, so that positions where every channel is 0 stay 0. */
const EPSILON = 1e-10;

/** The name without a number of pictures. */
export function lpipsName(label: string): string {
  return `lpips[${label}]`;
}

/** A layer's values [n, c, h, w] for both sides, and its weight: one for all channels, or one each. */
export interface LayerPair {
  readonly a: Float32Tensor;
  readonly b: Float32Tensor;
  readonly weight?: number | readonly number[];
}

/**
 * The distance of each pair [n], float64 sums. Throws InvalidModel for values that are not [n, c, h, w] and for other numbers
 * of weights than channels.
 */
export function lpipsOfLayers(layers: readonly LayerPair[]): Float64Array {
  const n = layers[0]?.a.dims[0] ?? 0;
  const result = new Float64Array(n);
  for (const layer of layers) {
    const [, channels, positions] = layerSize(layer, n);
    const weights = channelWeights(layer.weight, channels);
    for (let pair = 0; pair < n; pair += 1) {
      const offset = pair * channels * positions;
      let sum = 0;
      for (let at = offset; at < offset + positions; at += 1) sum += positionDistance(layer, at, positions, weights);
      result[pair] = (result[pair] as number) + sum / positions;
    }
  }
  return result;
}

function layerSize({ a, b }: LayerPair, n: number): readonly [n: number, channels: number, positions: number] {
  const [rows = 0, channels = 0, height = 0, width = 0] = a.dims;
  if (a.dims.length !== 4 || rows !== n || a.dims.some((dim, axis) => dim !== b.dims[axis])) {
    throw new NibbleflowError(
      'InvalidModel',
      `a layer must be [${n}, c, h, w] on both sides, got [${a.dims}] and [${b.dims}]`,
    );
  }
  return [rows, channels, height * width];
}

function channelWeights(weight: LayerPair['weight'] = 1, channels: number): Float64Array {
  if (typeof weight === 'number') return new Float64Array(channels).fill(weight);
  if (weight.length !== channels) {
    throw new NibbleflowError('InvalidModel', `a layer of ${channels} channels has ${weight.length} weights`);
  }
  return Float64Array.from(weight);
}

/** Σ_channels w_c · (a_c/|a| − b_c/|b|)² at a position; channels are `stride` apart. */
function positionDistance({ a, b }: LayerPair, first: number, stride: number, weights: Float64Array): number {
  let lengthA = 0;
  let lengthB = 0;
  for (let c = 0; c < weights.length; c += 1) {
    lengthA += (a.data[first + c * stride] as number) ** 2;
    lengthB += (b.data[first + c * stride] as number) ** 2;
  }
  const scaleA = 1 / (Math.sqrt(lengthA) + EPSILON);
  const scaleB = 1 / (Math.sqrt(lengthB) + EPSILON);
  let sum = 0;
  for (let c = 0; c < weights.length; c += 1) {
    const at = first + c * stride;
    sum += (weights[c] as number) * ((a.data[at] as number) * scaleA - (b.data[at] as number) * scaleB) ** 2;
  }
  return sum;
}

export interface LpipsOptions {
  /** The model of withLayerOutputs, opened. */
  readonly layers: Runnable;
  readonly spec: ExtractorSpec;
  readonly mode?: ResizeMode;
  /** Default: the extractor's. */
  readonly batchSize?: number;
}

/** The distance of each pair of pictures [n]. Throws InvalidInput when there are not as many on both sides. */
export async function lpipsOfImages(
  reference: PictureList,
  candidate: PictureList,
  { layers, spec, mode = 'extractor', batchSize = batchSizeOf(spec) }: LpipsOptions,
): Promise<Float64Array> {
  const [a, b] = [singlePictures(reference), singlePictures(candidate)];
  if (a.length !== b.length) {
    throw new NibbleflowError(
      'InvalidInput',
      `pairs need as many pictures on both sides, got ${a.length} and ${b.length}`,
    );
  }
  const declared = spec.layers ?? [];
  const names = declared.map(({ name }) => name);
  const result = new Float64Array(a.length);
  for (let start = 0; start < a.length; start += batchSize) {
    const end = Math.min(a.length, start + batchSize);
    const run = (pictures: typeof a) =>
      layers.run({ [spec.input.name]: extractorInput(pictures.slice(start, end), spec, mode, batchSize) }, names);
    const [left, right] = [await run(a), await run(b)];
    const pairs = declared.map(({ name, weight }) => ({
      a: layerOf(left, name, spec),
      b: layerOf(right, name, spec),
      ...(weight === undefined ? {} : { weight }),
    }));
    result.set(lpipsOfLayers(pairs).subarray(0, end - start), start);
  }
  return result;
}

function layerOf(outputs: Awaited<ReturnType<Runnable['run']>>, name: string, spec: ExtractorSpec): Float32Tensor {
  const value = outputs[name];
  if (value === undefined || value.type !== 'float32') {
    throw new NibbleflowError('InvalidModel', `layer ${name} is not float32`, { where: spec.name });
  }
  return asFloat32(value);
}
