import { tensor } from '../../models/tensors/tensor.js';
import { type Images, imageSize } from '../metrics/image-pairs.js';
import { type LevelKernel, RESIZE_KERNELS, verticalFirst } from './resize-kernels.js';

/**
 * Pillow's uint8 resampling (libImaging/Resample.c as documented by its golden outputs): per output pixel the weights are
 * normalised, times 2²² rounded to integers; each pass is (Σ weight·value + 2²¹) >> 22, clamped to 0…255, so the first pass
 * is rounded to 8 bits before the second.
 */
const ONE = 2 ** 22;
const HALF = ONE / 2;

/** Resizes uint8 NHWC pictures to [n, height, width, c] as Pillow 13 does. Equal sizes are returned as they are. */
export function resizeImages(images: Images, height: number, width: number, kernel: LevelKernel): Images {
  const size = imageSize(images);
  const down = (of: Images): Images => (size.height === height ? of : alongHeight(of, height, kernel));
  const across = (of: Images): Images => (size.width === width ? of : alongWidth(of, width, kernel));
  return verticalFirst(size, height, width) ? across(down(images)) : down(across(images));
}

function alongHeight(images: Images, target: number, kernel: LevelKernel): Images {
  const { n, height, width, channels } = imageSize(images);
  const { data } = images;
  const row = width * channels;
  const levels = new Uint8ClampedArray(n * target * row);
  const sums = new Float64Array(row);
  const taps = integerTaps(height, target, kernel);
  for (let image = 0; image < n; image += 1) {
    for (const [position, { first, weights }] of taps.entries()) {
      sums.fill(HALF);
      for (const [tap, weight] of weights.entries()) {
        const from = (image * height + first + tap) * row;
        for (let i = 0; i < row; i += 1) sums[i] = (sums[i] as number) + weight * (data[from + i] as number);
      }
      const to = (image * target + position) * row;
      for (let i = 0; i < row; i += 1) levels[to + i] = Math.floor((sums[i] as number) / ONE);
    }
  }
  return tensor('uint8', [n, target, width, channels], new Uint8Array(levels.buffer));
}

function alongWidth(images: Images, target: number, kernel: LevelKernel): Images {
  const { n, height, width, channels } = imageSize(images);
  const levels = new Uint8ClampedArray(n * height * target * channels);
  const taps = integerTaps(width, target, kernel);
  const { data } = images;
  let to = 0;
  for (let row = 0; row < n * height; row += 1) {
    for (let position = 0; position < target; position += 1) {
      const { first, weights } = taps[position] as IntegerTaps;
      for (let channel = 0; channel < channels; channel += 1) {
        let sum = HALF;
        let from = (row * width + first) * channels + channel;
        for (let tap = 0; tap < weights.length; tap += 1) {
          sum += (weights[tap] as number) * (data[from] as number);
          from += channels;
        }
        levels[to] = Math.floor(sum / ONE);
        to += 1;
      }
    }
  }
  return tensor('uint8', [n, height, target, channels], new Uint8Array(levels.buffer));
}

interface IntegerTaps {
  readonly first: number;
  /** Whole numbers, kept as float64 because their products leave 32 bits. */
  readonly weights: Float64Array;
}

function integerTaps(source: number, target: number, kernel: LevelKernel): IntegerTaps[] {
  const rule = RESIZE_KERNELS[kernel].taps;
  return rule(source, target).map(({ first, weights }) => ({ first, weights: Float64Array.from(weights, fixedPoint) }));
}

/** weight · 2²² rounded half away from zero. */
function fixedPoint(weight: number): number {
  const scaled = weight * ONE;
  return Math.trunc(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
}
