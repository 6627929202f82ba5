import sharp from 'sharp';
import { type Images, imageSize } from '../../evaluation/metrics/image-pairs.js';

/** A picture [1, h, w, 3] as the bytes of a PNG file, RGB of 8 bits without a profile: decodes to the same levels. */
export async function encodePng(picture: Images): Promise<Uint8Array> {
  const { n, height, width, channels } = imageSize(picture);
  if (n !== 1 || channels !== 3) throw new RangeError(`one RGB picture makes a PNG, got [${picture.dims}]`);
  return sharp(picture.data, { raw: { width, height, channels: 3 } })
    .png({ compressionLevel: 9, adaptiveFiltering: true, palette: false })
    .toBuffer();
}
