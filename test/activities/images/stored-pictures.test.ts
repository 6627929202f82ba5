import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openImageFolder } from '../../../activities/images/image-folder.js';
import { picturesInMemory } from '../../../activities/images/pictures-in-memory.js';
import { storePictures } from '../../../activities/images/store-pictures.js';
import { openStoredPictures } from '../../../activities/images/stored-pictures.js';
import { writePngFolder } from '../../../activities/images/write-png-folder.js';
import { LocalStore } from '../../../activities/store/local-store.js';
import type { PictureSource } from '../../../evaluation/features/picture-source.js';
import type { Images } from '../../../evaluation/metrics/image-pairs.js';
import { uniforms } from '../../../models/tensors/random.js';
import { writeSafetensors } from '../../../models/tensors/safetensors.js';
import { concatRows, sliceRows, tensor } from '../../../models/tensors/tensor.js';
import { goldenImages } from '../../evaluation/golden.js';

const EMOJI = goldenImages('emoji-t2i/images_u8.npy');
const NOISE = tensor(
  'uint8',
  [5, 7, 11, 3],
  Uint8Array.from(uniforms(3, 0, 5 * 231), (value) => Math.floor(value * 256)),
);

let root: string;
let store: LocalStore;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'nibbleflow-stored-'));
  store = await LocalStore.open(join(root, 'store'));
});
afterAll(() => rm(root, { recursive: true, force: true }));

async function expectSame(source: PictureSource, expected: Images): Promise<void> {
  const { keys, n } = picturesInMemory(expected);
  expect(source.n).toBe(n);
  expect(source.keys).toEqual(keys);
  const images = await source.read([...Array(n).keys()]);
  expect(
    Buffer.compare(
      concatRows(images).data,
      concatRows(await picturesInMemory(expected).read([...Array(n).keys()])).data,
    ),
  ).toBe(0);
}

describe.each(['packed', 'png'] as const)('storePictures as %s', (format) => {
  test('gives back every level, in any order, from several artifacts', async () => {
    for (const images of [EMOJI, NOISE])
      await expectSame(await openStoredPictures(store, [await storePictures(store, images, format)]), images);
    const parts = [sliceRows(EMOJI, 0, 3), sliceRows(EMOJI, 3, 8)];
    const refs = await Promise.all(parts.map((part) => storePictures(store, part, format)));
    const source = await openStoredPictures(store, refs);
    await expectSame(source, EMOJI);
    const [a, b] = await source.read([7, 0]);
    expect(Buffer.compare(a?.data ?? EMOJI.data, sliceRows(EMOJI, 7, 8).data)).toBe(0);
    expect(Buffer.compare(b?.data ?? EMOJI.data, sliceRows(EMOJI, 0, 1).data)).toBe(0);
    expect([source.height, source.width]).toEqual([32, 32]);
  });

  test('makes greys RGB, with the keys of the RGB pictures', async () => {
    const grey = tensor(
      'uint8',
      [2, 5, 6, 1],
      Uint8Array.from({ length: 60 }, (_, i) => i * 4),
    );
    const source = await openStoredPictures(store, [await storePictures(store, grey, format)]);
    const [first] = await source.read([0]);
    expect(first?.dims).toEqual([1, 5, 6, 3]);
    expect([...(first?.data.subarray(27, 30) ?? [])]).toEqual([36, 36, 36]);
    expect(source.keys).toEqual(picturesInMemory(grey).keys);
  });
});

describe('storePictures', () => {
  test('as png takes less space than packed, for real pictures', async () => {
    const packed = await storePictures(store, EMOJI, 'packed');
    const png = await storePictures(store, EMOJI, 'png');
    expect(png.sizeBytes).toBeLessThan(packed.sizeBytes);
  });
});

describe('openStoredPictures', () => {
  test('reads any uint8 tensor of pictures, also beside others, and says when there is none', async () => {
    const both = new Map([
      ['float', sliceRows(EMOJI, 0, 4)],
      ['images', sliceRows(EMOJI, 4, 8)],
    ]);
    const ref = await store.put('images', writeSafetensors(both));
    await expectSame(await openStoredPictures(store, [ref], 'float'), sliceRows(EMOJI, 0, 4));
    await expectSame(await openStoredPictures(store, [ref]), sliceRows(EMOJI, 4, 8));
    await expect(openStoredPictures(store, [ref], 'nothing')).rejects.toThrow(/no pictures named nothing/);
  });
});

describe('writePngFolder', () => {
  test('writes files that read back to the same levels, under the given names', async () => {
    const folder = join(root, 'pictures');
    await writePngFolder(picturesInMemory(EMOJI), folder);
    expect(await readdir(folder)).toEqual(Array.from({ length: 8 }, (_, i) => `00000${i}.png`));
    const read = await openImageFolder(folder);
    await expectSame(read, EMOJI);
    expect(read.notes).toEqual([]);
    await mkdir(join(root, 'empty'));
    await writePngFolder(picturesInMemory(NOISE), join(root, 'empty'), { fileName: (i) => `seed-${1000 + i}.png` });
    expect((await openImageFolder(join(root, 'empty'))).paths[4]).toBe('seed-1004.png');
  });

  test('refuses a folder that holds anything, and leaves nothing when it fails', async () => {
    const folder = join(root, 'full');
    await mkdir(folder);
    await writeFile(join(folder, 'mine.txt'), 'mine');
    await expect(writePngFolder(picturesInMemory(NOISE), folder)).rejects.toThrow(/is not empty/);
    expect(await readdir(folder)).toEqual(['mine.txt']);
    const broken: PictureSource = { ...picturesInMemory(NOISE), read: () => Promise.reject(new Error('gone')) };
    const target = join(root, 'never');
    await expect(writePngFolder(broken, target)).rejects.toThrow('gone');
    expect((await readdir(root)).filter((name) => name.includes('never'))).toEqual([]);
  });
});
