import { type Check, ok } from './check.js';
import { firstSentence } from './first-sentence.js';

/** sharp encodes and decodes a PNG. */
export const pictures: Check = {
  name: 'sharp',
  run: async () => {
    try {
      const { default: sharp } = await import('sharp');
      const pixels = Uint8Array.from([255, 0, 0, 0, 128, 255]);
      const png = await sharp(pixels, { raw: { width: 2, height: 1, channels: 3 } })
        .png()
        .toBuffer();
      const decoded = await sharp(png).raw().toBuffer();
      if (!decoded.equals(pixels)) throw new Error('a PNG does not decode to the pixels it was made of');
      return [ok(`version ${sharp.versions.sharp}, libvips ${sharp.versions.vips}`)];
    } catch (error) {
      return [{ state: 'failed', what: firstSentence(error), fix: 'Install it again for this machine: `npm ci`.' }];
    }
  },
};
