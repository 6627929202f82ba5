import { randomUUID } from 'node:crypto';
import { mkdir, readdir, rename, rm, rmdir, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { NibbleflowError } from '../../contracts/errors.js';
import type { PictureSource } from '../../evaluation/features/picture-source.js';
import { asDiskError } from '../store/atomic-write.js';
import { encodePng } from './encode-png.js';

export interface PngFolderOptions {
  /** File name of picture `index`; default: its number, `000000.png`. */
  readonly fileName?: (index: number) => string;
  readonly onProgress?: (done: number, total: number) => void;
}

/** Pictures that are read and written together. */
const AT_ONCE = 16;

/**
 * Writes pictures as PNG files into a new folder (or an empty one), which appears when all of them are written. Throws
 * OutputNotWritable when the folder holds anything, DiskFull; then nothing is left behind.
 */
export async function writePngFolder(
  pictures: PictureSource,
  folder: string,
  options: PngFolderOptions = {},
): Promise<void> {
  const fileName = options.fileName ?? ((index: number) => `${String(index).padStart(6, '0')}.png`);
  const found = await readdir(folder).catch(() => undefined);
  if (found !== undefined && found.length > 0) {
    throw new NibbleflowError('OutputNotWritable', 'the folder for the pictures is not empty', {
      where: folder,
      fix: 'Choose a new folder, or empty this one.',
    });
  }
  const fresh = join(dirname(folder), `.${basename(folder)}.${randomUUID()}.new`);
  try {
    await mkdir(fresh, { recursive: true });
    for (let first = 0; first < pictures.n; first += AT_ONCE) {
      const indices = Array.from({ length: Math.min(AT_ONCE, pictures.n - first) }, (_, i) => first + i);
      const images = await pictures.read(indices);
      await Promise.all(
        images.map(async (image, i) =>
          writeFile(join(fresh, fileName(first + i)), await encodePng(image), { flag: 'wx' }),
        ),
      );
      options.onProgress?.(first + indices.length, pictures.n);
    }
    if (found !== undefined) await rmdir(folder);
    await rename(fresh, folder);
  } catch (error) {
    await rm(fresh, { recursive: true, force: true }).catch(() => undefined);
    throw asDiskError(error, join(folder, 'picture'));
  }
}
