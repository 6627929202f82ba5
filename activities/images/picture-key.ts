import { createHash } from 'node:crypto';
import { type Images, imageSize } from '../../evaluation/metrics/image-pairs.js';

/** sha256 (hex) of a picture's size and pixels: its place in the canonical order and its name in caches. */
export function pictureKey(picture: Images): string {
  const { n, height, width, channels } = imageSize(picture);
  if (n !== 1) throw new RangeError(`one picture has a key, not ${n}`);
  return createHash('sha256').update(`${height}x${width}x${channels}\n`).update(picture.data).digest('hex');
}
