import { NibbleflowError } from '../../contracts/errors.js';
import { type Images, imageSize } from '../../evaluation/metrics/image-pairs.js';

/** uint8 [n, h, w, 1] as [n, h, w, 3]; RGB is returned as it is. Throws InvalidInput for other numbers of channels. */
export function asRgb(images: Images): Images {
  const { n, height, width, channels } = imageSize(images);
  if (channels === 3) return images;
  if (channels !== 1) {
    throw new NibbleflowError('InvalidInput', `pictures are RGB or grey, got ${channels} channels`);
  }
  const data = new Uint8Array(images.data.length * 3);
  for (const [i, level] of images.data.entries()) data.fill(level, 3 * i, 3 * i + 3);
  return { type: 'uint8', dims: [n, height, width, 3], data };
}
