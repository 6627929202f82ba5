import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { NibbleflowError } from '../../contracts/errors.js';
import type { PictureSource } from '../../evaluation/features/picture-source.js';
import type { Images } from '../../evaluation/metrics/image-pairs.js';
import {
  type DecodedPicture,
  decodePicture,
  MOST_BYTES,
  REMARKS,
  type Remark,
  UnusablePicture,
} from './decode-picture.js';
import { listPictureFiles } from './list-picture-files.js';
import { mapConcurrently } from './map-concurrently.js';
import { pictureKey } from './picture-key.js';
import { type UnusableFile, unusablePictures } from './unusable-pictures.js';

/** A folder whose pictures were all decoded once: each is usable, and its key is known. */
export interface ImageFolder extends PictureSource {
  readonly folder: string;
  /** Relative, with forward slashes, in the order of their names. */
  readonly paths: readonly string[];
  /** Whether any picture is a JPEG. */
  readonly lossy: boolean;
}

export interface ImageFolderOptions {
  /** Pictures that are needed; default 1. */
  readonly atLeast?: number;
  readonly onProgress?: (done: number, total: number) => void;
  readonly signal?: AbortSignal;
}

/** Files that are read and decoded at the same time: the memory that a folder takes. */
const AT_ONCE = 4;

interface Seen {
  readonly key: string;
  readonly height: number;
  readonly width: number;
  readonly remarks: readonly Remark[];
}

/**
 * Opens a folder of PNG and JPEG files, folders in it included. Every file is decoded once, AT_ONCE at a time, and only its
 * key is kept. Throws InvalidInput naming all unusable files, or when there are too few.
 */
export async function openImageFolder(folder: string, options: ImageFolderOptions = {}): Promise<ImageFolder> {
  const { pictures, others } = await listPictureFiles(folder);
  refuseTooFew(folder, pictures.length, others, options.atLeast ?? 1);
  const unusable: UnusableFile[] = [];
  let done = 0;
  const seen = await mapConcurrently(pictures, AT_ONCE, async (path) => {
    options.signal?.throwIfAborted();
    const one = await look(folder, path).catch((error: unknown) => {
      if (!(error instanceof UnusablePicture)) throw error;
      unusable.push({ path, reason: error.message });
      return undefined;
    });
    done += 1;
    options.onProgress?.(done, pictures.length);
    return one;
  });
  if (unusable.length > 0) {
    unusable.sort((a, b) => (a.path < b.path ? -1 : 1));
    throw unusablePictures(folder, unusable, pictures.length);
  }
  return asFolder(folder, pictures, seen as Seen[], others);
}

function asFolder(
  folder: string,
  paths: readonly string[],
  seen: readonly Seen[],
  others: ReadonlyMap<string, number>,
): ImageFolder {
  const keys = seen.map(({ key }) => key);
  const only = (values: readonly number[]): number | null => (new Set(values).size === 1 ? (values[0] ?? null) : null);
  const height = only(seen.map((one) => one.height));
  const width = only(seen.map((one) => one.width));
  return {
    folder,
    paths,
    n: paths.length,
    keys,
    height: width === null ? null : height,
    width: height === null ? null : width,
    notes: notesOf(seen, others),
    lossy: seen.some(({ remarks }) => remarks.includes('lossy')),
    nameOf: (index) => paths[index] ?? `picture ${index}`,
    read: (indices) =>
      mapConcurrently(indices, AT_ONCE, (index) => readAgain(folder, paths[index] as string, keys[index] as string)),
  };
}

async function look(folder: string, path: string): Promise<Seen> {
  const { image, remarks } = await decodeFile(join(folder, path));
  const [, height = 0, width = 0] = image.dims;
  return { key: pictureKey(image), height, width, remarks };
}

async function decodeFile(path: string): Promise<DecodedPicture> {
  const found = await stat(path).catch((error: NodeJS.ErrnoException) => {
    throw new UnusablePicture(`cannot be read (${error.code})`);
  });
  if (found.size > MOST_BYTES) throw new UnusablePicture(`has ${found.size} bytes; up to ${MOST_BYTES} are read`);
  const bytes = await readFile(path).catch((error: NodeJS.ErrnoException) => {
    throw new UnusablePicture(`cannot be read (${error.code})`);
  });
  return decodePicture(bytes);
}

async function readAgain(folder: string, path: string, key: string): Promise<Images> {
  const decoded = await decodeFile(join(folder, path)).catch((error: unknown) => error);
  if (decoded instanceof Error && !(decoded instanceof UnusablePicture)) throw decoded;
  if (decoded instanceof Error || pictureKey((decoded as DecodedPicture).image) !== key) {
    throw new NibbleflowError('InvalidInput', 'the picture changed while the folder was being read', {
      where: join(folder, path),
      fix: 'Wait until nothing writes to the folder, and run the same command again.',
    });
  }
  return (decoded as DecodedPicture).image;
}

function refuseTooFew(folder: string, n: number, others: ReadonlyMap<string, number>, atLeast: number): void {
  if (n >= atLeast) return;
  const left = [...others.values()].reduce((sum, count) => sum + count, 0);
  const beside = left === 0 ? '' : `, and ${left} other files (${endings(others)})`;
  const has = n === 0 ? 'no PNG or JPEG pictures' : `${n} pictures`;
  throw new NibbleflowError('InvalidInput', `the folder has ${has}${beside}; ${atLeast} are needed at least`, {
    where: folder,
  });
}

function notesOf(seen: readonly Seen[], others: ReadonlyMap<string, number>): string[] {
  const notes = (Object.keys(REMARKS) as Remark[]).flatMap((remark) => {
    const count = seen.filter(({ remarks }) => remarks.includes(remark)).length;
    return count === 0 ? [] : [`${count} of ${seen.length} pictures ${REMARKS[remark]}`];
  });
  const sizes = new Set(seen.map(({ height, width }) => `${width}×${height}`));
  if (sizes.size > 1) notes.push(`pictures have ${sizes.size} different sizes; each was resized to the extractor's`);
  const left = [...others.values()].reduce((sum, count) => sum + count, 0);
  if (left > 0) notes.push(`${left} other files in the folder were left out (${endings(others)})`);
  return notes;
}

function endings(others: ReadonlyMap<string, number>): string {
  const sorted = [...others].sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1));
  const shown = sorted.slice(0, 5).map(([ending, count]) => `${count} ${ending}`);
  return [...shown, ...(sorted.length > shown.length ? ['…'] : [])].join(', ');
}
