import { type Float32Tensor, float32 } from '../../models/tensors/tensor.js';
import { type Images, imageSize } from '../metrics/image-pairs.js';
import { resizeImages } from './resize.js';
import { isLevelKernel, RESIZE_KERNELS, type ResizeKernel, verticalFirst } from './resize-kernels.js';
import type { Taps } from './resize-taps.js';

/**
 * Resizing without rounding to levels: two passes of Σ weight·value, summed in float64, kept in float32 between the passes
 * and at the end (Pillow's mode F; torch and TensorFlow agree within float32 rounding). Cubic and Lanczos overshoot stays.
 */

/** A picture plane of float32 values, row by row. */
export interface Plane {
  readonly height: number;
  readonly width: number;
  readonly data: Float32Array;
}

/** One plane at another size, by a kernel that keeps floats. An equal size is returned as it is. */
export function resizePlane(plane: Plane, height: number, width: number, kernel: ResizeKernel): Plane {
  if (isLevelKernel(kernel)) throw new RangeError(`${kernel} makes levels: see resizeImages`);
  const rule = RESIZE_KERNELS[kernel].taps;
  const down = (of: Plane): Plane => (of.height === height ? of : alongHeight(of, rule(of.height, height)));
  const across = (of: Plane): Plane => (of.width === width ? of : alongWidth(of, rule(of.width, width)));
  return verticalFirst(plane, height, width) ? across(down(plane)) : down(across(plane));
}

/**
 * uint8 NHWC pictures as float32 [n, c, height, width], in levels: resized by any kernel, those that make levels included.
 * @throws NibbleflowError InvalidInput when `images` are not uint8 [n, h, w, c]
 */
export function resizeToFloat(images: Images, height: number, width: number, kernel: ResizeKernel): Float32Tensor {
  const size = imageSize(images);
  const levels =
    (size.height === height && size.width === width) || !isLevelKernel(kernel)
      ? images
      : resizeImages(images, height, width, kernel);
  const { n, channels, height: rows, width: columns } = imageSize(levels);
  const result = new Float32Array(n * channels * height * width);
  for (let image = 0; image < n; image += 1) {
    for (let channel = 0; channel < channels; channel += 1) {
      const plane = { height: rows, width: columns, data: planeOf(levels, image, channel) };
      const resized = rows === height && columns === width ? plane : resizePlane(plane, height, width, kernel);
      result.set(resized.data, (image * channels + channel) * height * width);
    }
  }
  return float32([n, channels, height, width], result);
}

function planeOf(images: Images, image: number, channel: number): Float32Array {
  const { height, width, channels } = imageSize(images);
  const plane = new Float32Array(height * width);
  let source = image * height * width * channels + channel;
  for (let pixel = 0; pixel < plane.length; pixel += 1) {
    plane[pixel] = images.data[source] as number;
    source += channels;
  }
  return plane;
}

function alongWidth({ height, width, data }: Plane, taps: readonly Taps[]): Plane {
  const result = new Float32Array(height * taps.length);
  for (let row = 0; row < height; row += 1) {
    for (let column = 0; column < taps.length; column += 1) {
      const { first, weights } = taps[column] as Taps;
      let sum = 0;
      for (let tap = 0; tap < weights.length; tap += 1) {
        sum += (weights[tap] as number) * (data[row * width + first + tap] as number);
      }
      result[row * taps.length + column] = sum;
    }
  }
  return { height, width: taps.length, data: result };
}

function alongHeight({ width, data }: Plane, taps: readonly Taps[]): Plane {
  const result = new Float32Array(taps.length * width);
  const sums = new Float64Array(width);
  for (const [row, { first, weights }] of taps.entries()) {
    sums.fill(0);
    for (const [tap, weight] of weights.entries()) {
      const from = (first + tap) * width;
      for (let i = 0; i < width; i += 1) sums[i] = (sums[i] as number) + weight * (data[from + i] as number);
    }
    result.set(sums, row * width);
  }
  return { height: taps.length, width, data: result };
}
