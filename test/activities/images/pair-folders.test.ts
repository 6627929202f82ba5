import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openImageFolder } from '../../../activities/images/image-folder.js';
import { pairFolders } from '../../../activities/images/pair-folders.js';

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'nibbleflow-pairs-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));

/** One colour a picture. */
async function folderOf(name: string, files: Readonly<Record<string, number>>) {
  for (const [path, level] of Object.entries(files)) {
    const file = join(root, name, path);
    await mkdir(dirname(file), { recursive: true });
    const pixels = sharp(Buffer.alloc(12, level), { raw: { width: 2, height: 2, channels: 3 } });
    await writeFile(file, await (path.endsWith('.png') ? pixels.png() : pixels.jpeg()).toBuffer());
  }
  return openImageFolder(join(root, name));
}

describe('pairFolders', () => {
  test('matches by path without the ending, whatever the order of the files', async () => {
    const a = await folderOf('a', { '1.png': 10, '10.png': 20, 'b/2.png': 30 });
    // .jpg sorts before .png of a longer name
    const b = await folderOf('b', { '1.jpg': 11, '10.png': 21, 'b/2.jpeg': 31 });
    const pairs = pairFolders(a, b);
    expect(pairs.names).toEqual(['1', '10', 'b/2']);
    const levels = async (source: typeof pairs.reference) =>
      (await source.read([0, 1, 2])).map((image) => image.data[0]);
    expect(await levels(pairs.reference)).toEqual([10, 20, 30]);
    expect(await levels(pairs.candidate)).toEqual([11, 21, 31]);
    expect(pairs.candidate.keys[0]).toBe(b.keys[b.paths.indexOf('1.jpg')]);
    expect(pairs.candidate.nameOf(2)).toBe('b/2.jpeg');
  });

  test('refuses pictures without a partner, naming them, and two pictures of a name', async () => {
    const a = await folderOf('c', { '1.png': 1, '2.png': 2, '3.png': 3 });
    const b = await folderOf('d', { '1.png': 1, '4.png': 4 });
    expect(() => pairFolders(a, b)).toThrow(
      /3 pictures have no partner:\s+2 is only in .*c\s+3 is only in .*c\s+4 is only in .*d/,
    );
    const twice = await folderOf('e', { '1.png': 1, '1.jpg': 2 });
    expect(() => pairFolders(b, twice)).toThrow(/1\.jpg and 1\.png have the same name/);
  });
});
