import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';
import { atomicWrite } from '../activities/store/atomic-write.js';
import { NibbleflowError } from '../contracts/errors.js';

const SAMPLES_FILE = 'samples.png';
/** Pixels between the two sides. */
const GAP = 24;
/** Wider than the sheets that nibbleflow writes; what is larger is not one of them. */
const LARGEST = 20_000;

/**
 * The sample sheets of two output folders beside each other, left and right, as one PNG.
 * @throws NibbleflowError InvalidInput when a folder has none; OutputNotWritable, DiskFull
 */
export async function writeComparisonGrid(folders: readonly [string, string], file: string): Promise<void> {
  const sheets = [await sheetOf(folders[0]), await sheetOf(folders[1])] as const;
  const width = sheets[0].width + GAP + sheets[1].width;
  const height = Math.max(sheets[0].height, sheets[1].height);
  const png = await sharp({ create: { width, height, channels: 3, background: '#fafafa' } })
    .composite([
      { input: sheets[0].png, left: 0, top: 0 },
      { input: sheets[1].png, left: sheets[0].width + GAP, top: 0 },
    ])
    .removeAlpha()
    .png({ compressionLevel: 9 })
    .toBuffer();
  await atomicWrite(file, [png]);
}

async function sheetOf(folder: string): Promise<{ png: Buffer; width: number; height: number }> {
  const path = join(folder, SAMPLES_FILE);
  const bytes = await readFile(path).catch(() => undefined);
  if (bytes === undefined) {
    throw new NibbleflowError('InvalidInput', 'this side has no sample pictures', {
      where: path,
      fix: 'Leave out --grid, or name two output folders with a samples.png.',
    });
  }
  try {
    const { width, height } = await sharp(bytes, { limitInputPixels: LARGEST * LARGEST }).metadata();
    return { png: bytes, width, height };
  } catch {
    throw new NibbleflowError('InvalidInput', 'the sample pictures cannot be read', { where: path });
  }
}
