import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import sharp, { type Sharp } from 'sharp';
import type { Images } from '../../evaluation/metrics/image-pairs.js';
import { type ShapePictures, shapePictures } from '../../evaluation/self-test/shape-pictures.js';

/** Pixels of picture `index`. */
export function rawPicture(images: Images, index: number): Sharp {
  const [, height = 0, width = 0, channels = 0] = images.dims;
  const size = height * width * channels;
  return sharp(images.data.slice(index * size, (index + 1) * size), {
    raw: { width, height, channels: channels as 3 },
  });
}

/** Draws pictures and writes them as PNG files; `nameOf` says how they are called. */
export async function writePictures(
  folder: string,
  pictures: ShapePictures,
  nameOf: (index: number) => string = (index) => `${index.toString().padStart(4, '0')}.png`,
): Promise<string> {
  await mkdir(folder, { recursive: true });
  const images = shapePictures(pictures);
  for (let i = 0; i < pictures.n; i += 1) {
    await writeFile(join(folder, nameOf(i)), await rawPicture(images, i).png().toBuffer());
  }
  return folder;
}
