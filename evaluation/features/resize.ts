import { tensor } from '../../models/tensors/tensor.js';
import { type Images, imageSize } from '../metrics/image-pairs.js';

/**
 * Pillow's uint8 resampling (libImaging/Resample.c as documented by its golden outputs): antialiased, separable, filter support
 * widened by the shrink factor; per output pixel the weights are normalised, times 2²² rounded to integers; each pass is
 * (Σ weight·value + 2²¹) >> 22, clamped to 0…255, so the first pass is rounded to 8 bits before the second.
 */
export interface ResampleFilter {
  /** Half width in source pixels when enlarging. */
  readonly support: number;
  readonly weight: (x: number) => number;
}

/** Keys' cubic with a = −0.5. */
function cubic(x: number): number {
  const a = -0.5;
  const t = Math.abs(x);
  if (t < 1) return ((a + 2) * t - (a + 3)) * t * t + 1;
  return t < 2 ? (((t - 5) * t + 8) * t - 4) * a : 0;
}

function sinc(x: number): number {
  return x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI);
}

/** The filters by name. */
export const RESAMPLE_FILTERS = {
  'pil-bicubic': { support: 2, weight: cubic },
  'pil-bilinear': { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  'pil-lanczos': { support: 3, weight: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) },
  'pil-box': { support: 0.5, weight: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) },
} as const satisfies Record<string, ResampleFilter>;

export type ResizeKernel = keyof typeof RESAMPLE_FILTERS;

const PRECISION_BITS = 22;

/** Integer weights of the source pixels first … first + weights.length − 1 for one output pixel. */
interface Taps {
  readonly first: number;
  readonly weights: readonly number[];
}

/**
 * Resizes uint8 NHWC pictures to [n, height, width, c] as Pillow 13 does: horizontally first, except where the height shrinks
 * more than the width (older Pillow: always horizontally first; differs there by one level). Equal sizes are returned as they are.
 */
export function resizeImages(images: Images, height: number, width: number, kernel: ResizeKernel): Images {
  const size = imageSize(images);
  if (size.height === height && size.width === width) return images;
  const filter = RESAMPLE_FILTERS[kernel];
  const verticalFirst = height < size.height && height / size.height < width / size.width;
  if (verticalFirst) return resizeAxis(resizeAxis(images, 1, height, filter), 2, width, filter);
  return resizeAxis(resizeAxis(images, 2, width, filter), 1, height, filter);
}

/** One pass along axis 1 (height) or 2 (width). */
function resizeAxis(images: Images, axis: 1 | 2, target: number, filter: ResampleFilter): Images {
  const { n, height, width, channels } = imageSize(images);
  const source = axis === 1 ? height : width;
  if (source === target) return images;
  const outer = axis === 1 ? n : n * height;
  const inner = axis === 1 ? width * channels : channels;
  const result = new Uint8Array(outer * target * inner);
  for (const [position, taps] of pixelTaps(source, target, filter).entries()) {
    for (let block = 0; block < outer; block += 1) {
      for (let lane = 0; lane < inner; lane += 1) {
        let sum = 2 ** (PRECISION_BITS - 1);
        let index = (block * source + taps.first) * inner + lane;
        for (const weight of taps.weights) {
          sum += weight * (images.data[index] as number);
          index += inner;
        }
        result[(block * target + position) * inner + lane] = Math.min(
          255,
          Math.max(0, Math.floor(sum / 2 ** PRECISION_BITS)),
        );
      }
    }
  }
  return tensor('uint8', axis === 1 ? [n, target, width, channels] : [n, height, target, channels], result);
}

/** The taps of every output pixel along an axis. */
function pixelTaps(source: number, target: number, filter: ResampleFilter): Taps[] {
  const scale = source / target;
  const spread = Math.max(scale, 1);
  const support = filter.support * spread;
  return Array.from({ length: target }, (_, position) => {
    const centre = (position + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support + 0.5));
    const end = Math.min(source, Math.trunc(centre + support + 0.5));
    const raw = Array.from({ length: end - first }, (_, i) => filter.weight((i + first - centre + 0.5) / spread));
    const sum = raw.reduce((a, b) => a + b, 0);
    return { first, weights: raw.map((weight) => fixedPoint(sum === 0 ? weight : weight / sum)) };
  });
}

/** weight · 2²² rounded half away from zero. */
function fixedPoint(weight: number): number {
  const scaled = weight * 2 ** PRECISION_BITS;
  return Math.trunc(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
}
