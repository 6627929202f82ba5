import { NibbleflowError } from '../../contracts/errors.js';
import { type Float32Tensor, float32 } from '../../models/tensors/tensor.js';
import { type Images, imageSize } from '../metrics/image-pairs.js';
import type { ExtractorSpec } from './extractor-spec.js';
import { resizeToFloat } from './resize-float.js';
import type { ResizeKernel } from './resize-kernels.js';
import { inputTransform, type ResizeMode } from './resize-modes.js';

/** uint8 [n, h, w, 3] of one size, or several of them, whose sizes may differ. */
export type PictureList = Images | readonly Images[];

/** Pictures one by one, each [1, h, w, 3]. Throws InvalidInput for pictures without three channels. */
export function singlePictures(pictures: PictureList): Images[] {
  const list: readonly Images[] = 'data' in pictures ? [pictures] : pictures;
  return list.flatMap((images) => {
    const { n, height, width, channels } = imageSize(images);
    if (channels !== 3) {
      throw new NibbleflowError('InvalidInput', `features are taken of RGB pictures, got ${channels} channels`);
    }
    const size = height * width * channels;
    return Array.from({ length: n }, (_, i) => ({
      type: 'uint8' as const,
      dims: [1, height, width, channels],
      data: images.data.subarray(i * size, (i + 1) * size),
    }));
  });
}

/**
 * The extractor's float32 input [batch, 3, h, w]: each picture resized, levels mapped to its range; a partial batch is
 * filled up with its last picture, so that every run has the same shapes and a picture's features the same kernels.
 */
export function extractorInput(
  pictures: readonly Images[],
  spec: ExtractorSpec,
  mode: ResizeMode,
  batch: number,
): Float32Tensor {
  const [height, width] = spec.input.size;
  const { kernel, ranges, clamp, crop } = inputTransform(spec, mode);
  const plane = height * width;
  const result = new Float32Array(batch * 3 * plane);
  for (const [index, picture] of pictures.entries()) {
    const resized =
      crop === undefined ? resizeToFloat(picture, height, width, kernel).data : middleOf(picture, height, kernel);
    const levels = clamp ? resized.map((level) => Math.min(255, Math.max(0, level))) : resized;
    for (const [channel, [low, high]] of ranges.entries()) {
      const target = (index * 3 + channel) * plane;
      for (let i = 0; i < plane; i += 1) {
        result[target + i] = low + ((levels[channel * plane + i] as number) / 255) * (high - low);
      }
    }
  }
  for (let index = pictures.length; index < batch; index += 1) {
    result.copyWithin(index * 3 * plane, (pictures.length - 1) * 3 * plane, pictures.length * 3 * plane);
  }
  return float32([batch, 3, height, width], result);
}

/**
 * The middle [3, size, size] of a picture whose shorter side was resized to `size`, as transformers' CLIPImageProcessor takes it: the
 * longer side is ⌊size · long / short⌋, and of an odd rest one pixel more is cut off at the end.
 */
function middleOf(picture: Images, size: number, kernel: ResizeKernel): Float32Array {
  const { height, width } = imageSize(picture);
  const short = Math.min(height, width);
  const [rows, columns] = [Math.floor((size * height) / short), Math.floor((size * width) / short)];
  const { data } = resizeToFloat(picture, rows, columns, kernel);
  const [top, left] = [Math.floor((rows - size) / 2), Math.floor((columns - size) / 2)];
  const result = new Float32Array(3 * size * size);
  for (let channel = 0; channel < 3; channel += 1) {
    for (let row = 0; row < size; row += 1) {
      const from = (channel * rows + top + row) * columns + left;
      result.set(data.subarray(from, from + size), (channel * size + row) * size);
    }
  }
  return result;
}
