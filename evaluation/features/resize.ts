import { tensor } from '../../models/tensors/tensor.js';
import { type Images, imageSize } from '../metrics/image-pairs.js';
import { type LevelKernel, RESIZE_KERNELS, verticalFirst } from './resize-kernels.js';
import type { Taps } from './resize-taps.js';

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
  if (size.height === height && size.width === width) return images;
  if (verticalFirst(size, height, width)) return resizeAxis(resizeAxis(images, 1, height, kernel), 2, width, kernel);
  return resizeAxis(resizeAxis(images, 2, width, kernel), 1, height, kernel);
}

/** One pass along axis 1 (height) or 2 (width). */
function resizeAxis(images: Images, axis: 1 | 2, target: number, kernel: LevelKernel): Images {
  const { n, height, width, channels } = imageSize(images);
  const source = axis === 1 ? height : width;
  if (source === target) return images;
  const outer = axis === 1 ? n : n * height;
  const inner = axis === 1 ? width * channels : channels;
  const result = new Uint8Array(outer * target * inner);
  const levels = new Uint8ClampedArray(result.buffer);
  for (const [position, { first, weights }] of integerTaps(source, target, kernel).entries()) {
    for (let block = 0; block < outer; block += 1) {
      const from = (block * source + first) * inner;
      const to = (block * target + position) * inner;
      for (let lane = 0; lane < inner; lane += 1) {
        let sum = HALF;
        let index = from + lane;
        for (let tap = 0; tap < weights.length; tap += 1) {
          sum += (weights[tap] as number) * (images.data[index] as number);
          index += inner;
        }
        levels[to + lane] = Math.floor(sum / ONE);
      }
    }
  }
  return tensor('uint8', axis === 1 ? [n, target, width, channels] : [n, height, target, channels], result);
}

function integerTaps(source: number, target: number, kernel: LevelKernel): Taps[] {
  const rule = RESIZE_KERNELS[kernel].taps;
  return rule(source, target).map(({ first, weights }) => ({ first, weights: weights.map(fixedPoint) }));
}

/** weight · 2²² rounded half away from zero. */
function fixedPoint(weight: number): number {
  const scaled = weight * ONE;
  return Math.trunc(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
}
