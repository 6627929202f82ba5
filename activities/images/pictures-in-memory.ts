import type { PictureSource } from '../../evaluation/features/picture-source.js';
import { type Images, imageSize } from '../../evaluation/metrics/image-pairs.js';
import { sliceRows } from '../../models/tensors/tensor.js';
import { asRgb } from './as-rgb.js';
import { pictureKey } from './picture-key.js';

/** Pictures [n, h, w, 3 or 1] that are in memory already; greys are given as RGB. */
export function picturesInMemory(images: Images): PictureSource {
  const rgb = asRgb(images);
  const { n, height, width } = imageSize(rgb);
  return {
    n,
    keys: Array.from({ length: n }, (_, i) => pictureKey(sliceRows(rgb, i, i + 1))),
    height,
    width,
    notes: [],
    nameOf: (index) => `picture ${index}`,
    read: async (indices) => indices.map((index) => sliceRows(rgb, index, index + 1)),
  };
}
