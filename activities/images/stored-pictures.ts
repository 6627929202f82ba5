import { type FileHandle, open } from 'node:fs/promises';
import type { ArtifactRef } from '../../contracts/artifact.js';
import { NibbleflowError } from '../../contracts/errors.js';
import type { PictureSource } from '../../evaluation/features/picture-source.js';
import type { Images } from '../../evaluation/metrics/image-pairs.js';
import { readSafetensorsHeader, type SafetensorsEntry } from '../../models/tensors/safetensors.js';
import { readFully } from '../features/stored-chunks.js';
import type { LocalStore } from '../store/local-store.js';
import { asRgb } from './as-rgb.js';
import { decodePicture } from './decode-picture.js';
import { pictureKey } from './picture-key.js';
import { KEYS, PACKED, pngName } from './store-pictures.js';

/** One artifact of pictures, and where its tensors lie. */
interface Part {
  readonly ref: ArtifactRef;
  readonly entries: ReadonlyMap<string, SafetensorsEntry>;
  /** The tensor of uint8 [n, h, w, c], for packed pictures. */
  readonly packed: SafetensorsEntry | undefined;
  readonly n: number;
  readonly height: number;
  readonly width: number;
}

/**
 * The pictures of artifacts that storePictures made (or of any with uint8 pictures [n, h, w, c] under `tensorName`), one
 * after the other. Pictures are read from the files when they are asked for.
 */
export async function openStoredPictures(
  store: LocalStore,
  refs: readonly ArtifactRef[],
  tensorName: string = PACKED,
): Promise<PictureSource> {
  const parts: Part[] = [];
  const keys: string[] = [];
  for (const ref of refs) {
    await withFile(store, ref, async (file) => {
      const part = await openPart(ref, file, tensorName);
      parts.push(part);
      keys.push(...(await keysOf(part, file, tensorName)));
    });
  }
  const places = parts.flatMap((part, index) => Array.from({ length: part.n }, (_, row) => ({ index, row })));
  const only = (values: readonly number[]): number | null => (new Set(values).size === 1 ? (values[0] ?? null) : null);
  const height = only(parts.map((part) => part.height));
  const width = only(parts.map((part) => part.width));
  return {
    n: places.length,
    keys,
    height: width === null ? null : height,
    width: height === null ? null : width,
    notes: [],
    nameOf: (index) => `picture ${index}`,
    read: async (indices) => {
      const images = new Array<Images>(indices.length);
      for (const [index, part] of parts.entries()) {
        const wanted = [...indices.entries()].filter(([, picture]) => places[picture]?.index === index);
        if (wanted.length === 0) continue;
        await withFile(store, part.ref, async (file) => {
          for (const [at, picture] of wanted) images[at] = await readPicture(part, places[picture]?.row ?? 0, file);
        });
      }
      return images;
    },
  };
}

async function withFile<T>(store: LocalStore, ref: ArtifactRef, work: (file: FileHandle) => Promise<T>): Promise<T> {
  const file = await open(await store.path(ref), 'r');
  try {
    return await work(file);
  } finally {
    await file.close();
  }
}

async function openPart(ref: ArtifactRef, file: FileHandle, tensorName: string): Promise<Part> {
  const { entries, metadata } = await readSafetensorsHeader((start, end) => bytesOf(file, start, end));
  const packed = entries.get(tensorName);
  if (packed !== undefined && packed.type === 'uint8' && packed.dims.length === 4) {
    const [n = 0, height = 0, width = 0] = packed.dims;
    return { ref, entries, packed, n, height, width };
  }
  const n = entries.get(KEYS)?.dims[0] ?? 0;
  if (metadata.format !== 'png' || n === 0) {
    throw new NibbleflowError('MissingArtifact', `the artifact holds no pictures named ${tensorName}`, {
      where: ref.digest,
    });
  }
  return { ref, entries, packed: undefined, n, height: Number(metadata.height), width: Number(metadata.width) };
}

/** The stored keys, or those of the pixels where there are none. */
async function keysOf(part: Part, file: FileHandle, tensorName: string): Promise<string[]> {
  const stored = part.entries.get(KEYS);
  if (stored !== undefined && tensorName === PACKED) {
    const bytes = Buffer.from(await bytesOf(file, stored.start, stored.end));
    return Array.from({ length: part.n }, (_, i) => bytes.toString('hex', i * 32, (i + 1) * 32));
  }
  const keys: string[] = [];
  for (let row = 0; row < part.n; row += 1) keys.push(pictureKey(await readPicture(part, row, file)));
  return keys;
}

async function readPicture(part: Part, row: number, file: FileHandle): Promise<Images> {
  if (part.packed !== undefined) {
    const [, height = 0, width = 0, channels = 0] = part.packed.dims;
    const size = height * width * channels;
    const data = await bytesOf(file, part.packed.start + row * size, part.packed.start + (row + 1) * size);
    return asRgb({ type: 'uint8', dims: [1, height, width, channels], data });
  }
  const entry = part.entries.get(pngName(row));
  if (entry === undefined)
    throw new NibbleflowError('MissingArtifact', 'a stored PNG is missing', { where: part.ref.digest });
  return (await decodePicture(await bytesOf(file, entry.start, entry.end))).image;
}

async function bytesOf(file: FileHandle, start: number, end: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(end - start);
  await readFully(file, bytes, start);
  return bytes;
}
