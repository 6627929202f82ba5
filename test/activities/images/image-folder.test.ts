import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openImageFolder } from '../../../activities/images/image-folder.js';
import { exitCodeFor, NibbleflowError } from '../../../contracts/errors.js';
import { goldenJson, goldenPath } from '../../evaluation/golden.js';
import { encodePng, pngChunk } from './png-encoder.js';

const SIZE = { width: 8, height: 6 };
const PIXELS = SIZE.width * SIZE.height;
const NOISE = Uint8Array.from({ length: PIXELS * 3 }, (_, i) => (i * 89 + ((i * i) % 53)) % 256);
const GREY = NOISE.subarray(0, PIXELS);
const GOOD = encodePng(NOISE, SIZE);

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'nibbleflow-images-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));

let made = 0;
async function folderWith(files: Readonly<Record<string, Uint8Array>>): Promise<string> {
  made += 1;
  const folder = join(root, `folder-${made}`);
  await mkdir(folder);
  for (const [path, bytes] of Object.entries(files)) {
    await mkdir(join(folder, path, '..'), { recursive: true });
    await writeFile(join(folder, path), bytes);
  }
  return folder;
}

async function pixelsOf(file: Uint8Array, name = 'one.png') {
  const folder = await openImageFolder(await folderWith({ [name]: file }));
  const [image] = await folder.read([0]);
  return { pixels: Buffer.from(image?.data ?? []), dims: image?.dims, notes: folder.notes, folder };
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

/** Every pixel's grey three times. */
function asRgb(greys: Uint8Array): Uint8Array {
  return Uint8Array.from({ length: greys.length * 3 }, (_, i) => greys[Math.floor(i / 3)] as number);
}

/** The message of what opening the folder throws, which must be the user's to repair. */
async function refusal(folder: string, options = {}): Promise<string> {
  const error: unknown = await openImageFolder(folder, options).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(NibbleflowError);
  expect(exitCodeFor((error as NibbleflowError).kind)).toBe(2);
  return (error as NibbleflowError).message;
}

async function refusalOf(file: Uint8Array, name = 'bad.png'): Promise<string> {
  return refusal(await folderWith({ 'good.png': GOOD, [name]: file }));
}

describe('openImageFolder reads', () => {
  test('RGB pictures to the bit, in the order of their names, folders included', async () => {
    const other = encodePng(Uint8Array.from(NOISE).reverse(), SIZE);
    const path = await folderWith({ 'b.png': GOOD, 'a/z.PNG': other, 'a/b/c.png': GOOD, 'notes.txt': Buffer.of(1) });
    const folder = await openImageFolder(path);
    expect(folder.paths).toEqual(['a/b/c.png', 'a/z.PNG', 'b.png']);
    expect([folder.n, folder.height, folder.width]).toEqual([3, 6, 8]);
    expect(folder.keys[0]).toBe(folder.keys[2]);
    expect(folder.keys[1]).not.toBe(folder.keys[0]);
    expect(folder.notes).toEqual(['1 other files in the folder were left out (1 .txt)']);
    const [last, first] = await folder.read([2, 1]);
    expect(sameBytes(last?.data ?? GREY, NOISE)).toBe(true);
    expect(sameBytes(first?.data ?? GREY, Uint8Array.from(NOISE).reverse())).toBe(true);
  });

  test('a key that is that of the pixels and the size, not of the file', async () => {
    const recompressed = await sharp(Buffer.from(NOISE), { raw: { ...SIZE, channels: 3 } })
      .png({ compressionLevel: 0 })
      .toBuffer();
    const turned = encodePng(NOISE, { width: 6, height: 8 });
    const folder = await openImageFolder(await folderWith({ 'a.png': GOOD, 'b.png': recompressed, 'c.png': turned }));
    expect(sameBytes(GOOD, recompressed)).toBe(false);
    expect(folder.keys[1]).toBe(folder.keys[0]);
    expect(folder.keys[2]).not.toBe(folder.keys[0]);
    expect([folder.height, folder.width]).toEqual([null, null]);
    expect(folder.notes).toEqual(["pictures have 2 different sizes; each was resized to the extractor's"]);
  });

  test('without applying colour profiles or gAMA', async () => {
    const p3 = await sharp(Buffer.from(NOISE), { raw: { ...SIZE, channels: 3 } })
      .withIccProfile('p3')
      .png()
      .toBuffer();
    const gamma = Buffer.alloc(4);
    gamma.writeUInt32BE(100_000);
    const tagged = encodePng(NOISE, {
      ...SIZE,
      chunks: [
        ['gAMA', gamma],
        ['iCCP', pngChunk(p3, 'iCCP')],
      ],
    });
    const { pixels, notes } = await pixelsOf(tagged);
    expect(sameBytes(pixels, NOISE)).toBe(true);
    expect(notes).toEqual(['1 of 1 pictures have a colour profile, which was not applied']);
    // the profile would have changed the pixels
    expect(sameBytes(await sharp(tagged).raw().toBuffer(), NOISE)).toBe(false);
    const darkened = encodePng(NOISE, { ...SIZE, chunks: [['gAMA', gamma]] });
    expect(sameBytes((await pixelsOf(darkened)).pixels, NOISE)).toBe(true);
  });

  test('without rotating by EXIF, as PIL opens a file', async () => {
    const rotated = await sharp(GOOD).withMetadata({ orientation: 6 }).png().toBuffer();
    const { pixels, dims, notes } = await pixelsOf(rotated);
    expect(dims).toEqual([1, 6, 8, 3]);
    expect(sameBytes(pixels, NOISE)).toBe(true);
    expect(notes.join()).toContain('ask to be rotated');
  });

  test('what Pillow reads, level by level: JPEG of all kinds, damaged ones, palettes, greys, tagged and rotated files', async () => {
    const { files } = goldenJson<{ files: Record<string, { height: number; width: number; sha256_of_rgb: string }> }>(
      'metrics/decoding/expected.json',
    );
    const folder = await openImageFolder(goldenPath('metrics/decoding'));
    expect(folder.paths).toEqual(Object.keys(files).sort());
    expect(folder.n).toBeGreaterThan(20);
    // Stray bytes and a code that does not exist: libjpeg warns and goes on.
    expect(folder.notes.join('\n')).toMatch(/^3 of 24 pictures are JPEG with damaged places/m);
    const images = await folder.read([...folder.paths.keys()]);
    for (const [i, path] of folder.paths.entries()) {
      const { height, width, sha256_of_rgb: expected } = files[path] as NonNullable<(typeof files)[string]>;
      expect([path, images[i]?.dims]).toEqual([path, [1, height, width, 3]]);
      expect([
        path,
        createHash('sha256')
          .update(images[i]?.data ?? '')
          .digest('hex'),
      ]).toEqual([path, expected]);
    }
  });

  test('greys of 8 bits and of one bit as RGB, with a note', async () => {
    const { pixels, notes } = await pixelsOf(encodePng(GREY, { ...SIZE, colorType: 0 }));
    expect(sameBytes(pixels, asRgb(GREY))).toBe(true);
    expect(notes).toEqual(['1 of 1 pictures are grey and were read as RGB']);
    const bits = Uint8Array.of(0b10110001, 0b01010101, 0xff, 0, 0b11110000, 0b00001111);
    const black = Uint8Array.from({ length: PIXELS }, (_, i) =>
      (bits[i >> 3] as number) & (0x80 >> (i & 7)) ? 255 : 0,
    );
    const oneBit = await pixelsOf(encodePng(bits, { ...SIZE, colorType: 0, bitDepth: 1 }));
    expect(sameBytes(oneBit.pixels, asRgb(black))).toBe(true);
  });

  test('palettes', async () => {
    const palette = Uint8Array.of(10, 20, 30, 250, 0, 128, 7, 7, 200, 255, 255, 255);
    const indices = Uint8Array.from({ length: PIXELS }, (_, i) => (i * 7) % 4);
    const { pixels, notes } = await pixelsOf(
      encodePng(indices, { ...SIZE, colorType: 3, chunks: [['PLTE', palette]] }),
    );
    expect(
      sameBytes(
        pixels,
        Uint8Array.from(
          { length: PIXELS * 3 },
          (_, i) => palette[(indices[Math.floor(i / 3)] as number) * 3 + (i % 3)] as number,
        ),
      ),
    ).toBe(true);
    expect(notes).toEqual([]);
  });

  test('an alpha channel that is opaque everywhere, which is dropped with a note', async () => {
    const rgba = Uint8Array.from({ length: PIXELS * 4 }, (_, i) =>
      i % 4 === 3 ? 255 : (NOISE[Math.floor(i / 4) * 3 + (i % 4)] as number),
    );
    const { pixels, notes } = await pixelsOf(encodePng(rgba, { ...SIZE, colorType: 6 }));
    expect(sameBytes(pixels, NOISE)).toBe(true);
    expect(notes).toEqual(['1 of 1 pictures have an alpha channel without transparency, which was dropped']);
    const greyAlpha = Uint8Array.from({ length: PIXELS * 2 }, (_, i) => (i % 2 === 1 ? 255 : (GREY[i / 2] as number)));
    expect(sameBytes((await pixelsOf(encodePng(greyAlpha, { ...SIZE, colorType: 4 }))).pixels, asRgb(GREY))).toBe(true);
  });

  test('JPEG files, recorded as lossy, whatever their ending says', async () => {
    const jpeg = await sharp(GOOD).jpeg({ quality: 90 }).toBuffer();
    const folder = await openImageFolder(await folderWith({ 'a.jpeg': jpeg, 'b.png': GOOD, 'c.png': jpeg }));
    expect(folder.lossy).toBe(true);
    expect(folder.notes[0]).toMatch(/^2 of 3 pictures are JPEG/);
    expect((await openImageFolder(await folderWith({ 'b.png': GOOD }))).lossy).toBe(false);
    const [image] = await folder.read([0]);
    expect(sameBytes(image?.data ?? GREY, await sharp(jpeg).raw().toBuffer())).toBe(true);
  });

  test('links to files, but not hidden files and not folders that are linked into a circle', async () => {
    const path = await folderWith({ 'a.png': GOOD, '.hidden.png': Buffer.of(1), '.git/x.png': Buffer.of(1) });
    await symlink(join(path, 'a.png'), join(path, 'link.png'));
    await symlink(path, join(path, 'circle'));
    const folder = await openImageFolder(path);
    expect(folder.paths).toEqual(['a.png', 'link.png']);
    expect(folder.notes).toEqual(['3 other files in the folder were left out (2 hidden, 1 without an ending)']);
  });

  test('and notices a picture that changes afterwards', async () => {
    const { folder } = await pixelsOf(GOOD);
    await writeFile(join(folder.folder, 'one.png'), encodePng(Uint8Array.from(NOISE).reverse(), SIZE));
    await expect(folder.read([0])).rejects.toThrow(/changed while the folder was being read[\s\S]*one\.png/);
    await rm(join(folder.folder, 'one.png'));
    await expect(folder.read([0])).rejects.toThrow(/changed while/);
  });
});

describe('openImageFolder refuses, naming the file', () => {
  test('empty files', async () => {
    expect(await refusalOf(Buffer.alloc(0))).toMatch(/1 of 2 pictures cannot be used:\s+bad\.png is empty \(0 bytes\)/);
  });

  test.each([
    ['text', Buffer.from('not a picture at all')],
    ['half a PNG', GOOD.subarray(0, Math.floor(GOOD.length * 0.7))],
    ['a header only', GOOD.subarray(0, 40)],
    ['flipped bits', Buffer.from(GOOD.map((byte, i) => (i > 60 && i < 90 ? byte ^ 0xff : byte)))],
  ])('damaged ones: %s', async (_, file) => {
    expect(await refusalOf(file)).toMatch(/bad\.png is damaged or not a picture/);
  });

  test('a JPEG that ends early, or lacks nothing but its end', async () => {
    const large = Buffer.from(Array.from({ length: 64 * 64 * 3 }, (_, i) => (i * 7919) % 251));
    const jpeg = await sharp(large, { raw: { width: 64, height: 64, channels: 3 } })
      .jpeg()
      .toBuffer();
    expect(await refusalOf(jpeg.subarray(0, jpeg.length * 0.6), 'bad.jpg')).toMatch(/bad\.jpg is damaged/);
    expect(await refusalOf(jpeg.subarray(0, -2), 'bad.jpg')).toMatch(/bad\.jpg is damaged/);
    const progressive = await sharp(large, { raw: { width: 64, height: 64, channels: 3 } })
      .jpeg({ progressive: true })
      .toBuffer();
    expect(await refusalOf(progressive.subarray(0, progressive.length * 0.7), 'bad.jpg')).toMatch(
      /bad\.jpg is damaged/,
    );
  });

  test('decompression bombs, from their header', async () => {
    const huge = encodePng(NOISE, { ...SIZE, declared: { width: 100_000, height: 100_000 } });
    const before = process.memoryUsage().rss;
    expect(await refusalOf(huge)).toMatch(/bad\.png would have 100000 × 100000 pixels; up to 67108864 are read/);
    expect(process.memoryUsage().rss - before).toBeLessThan(2 ** 28);
  });

  test('transparency, in an alpha channel and in a palette', async () => {
    const rgba = new Uint8Array(PIXELS * 4).fill(255);
    rgba[4 * 7 + 3] = 254;
    expect(await refusalOf(encodePng(rgba, { ...SIZE, colorType: 6 }))).toMatch(/bad\.png has transparent pixels/);
    const chunks = [['PLTE', Uint8Array.of(1, 2, 3, 4, 5, 6)] as const, ['tRNS', Uint8Array.of(255, 0)] as const];
    const indices = Uint8Array.from({ length: PIXELS }, (_, i) => i % 2);
    expect(await refusalOf(encodePng(indices, { ...SIZE, colorType: 3, chunks }))).toMatch(/has transparent pixels/);
  });

  test('16 bits, CMYK, and files of other formats under a wrong ending', async () => {
    expect(await refusalOf(encodePng(new Uint8Array(PIXELS * 6), { ...SIZE, bitDepth: 16 }))).toMatch(
      /has 16 bits per channel/,
    );
    expect(await refusalOf(encodePng(new Uint8Array(PIXELS * 2), { ...SIZE, bitDepth: 16, colorType: 0 }))).toMatch(
      /has 16 bits/,
    );
    const cmyk = await sharp(GOOD).toColourspace('cmyk').jpeg().toBuffer();
    expect(await refusalOf(cmyk, 'bad.jpg')).toMatch(/bad\.jpg is in CMYK/);
    expect(await refusalOf(await sharp(GOOD).webp().toBuffer())).toMatch(/bad\.png is a webp file; PNG and JPEG/);
    const svg = Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"></svg>');
    expect(await refusalOf(svg)).toMatch(/bad\.png is a svg file/);
  });

  test('a link to nowhere', async () => {
    const path = await folderWith({ 'good.png': GOOD });
    await symlink(join(path, 'gone'), join(path, 'link.png'));
    expect(await refusal(path)).toMatch(/link\.png cannot be read \(ENOENT\)/);
  });

  test('all of them at once: ten by name, the rest counted', async () => {
    const files = Object.fromEntries(
      Array.from({ length: 13 }, (_, i) => [`bad-${String(i).padStart(2, '0')}.png`, Buffer.alloc(i % 2)]),
    );
    const message = await refusal(await folderWith({ ...files, 'good.png': GOOD }));
    expect(message).toContain('13 of 14 pictures cannot be used');
    expect(message.match(/bad-\d\d\.png/g)).toHaveLength(10);
    expect(message).toContain('and 3 more');
    expect(message).toContain('bad-00.png is empty');
    expect(message).toContain('bad-09.png is damaged');
  });

  test('a folder that is not there, is a file, is empty, or has too few', async () => {
    expect(await refusal(join(root, 'nowhere'))).toMatch(/no such folder of pictures/);
    const path = await folderWith({ 'a.png': GOOD, 'b.webp': GOOD });
    expect(await refusal(join(path, 'a.png'))).toMatch(/not a folder of pictures/);
    expect(await refusal(await folderWith({}))).toMatch(/no PNG or JPEG pictures; 1 are needed/);
    expect(await refusal(await folderWith({ 'a.webp': GOOD }))).toMatch(
      /no PNG or JPEG pictures, and 1 other files \(1 \.webp\)/,
    );
    expect(await refusal(path, { atLeast: 100 })).toMatch(
      /has 1 pictures, and 1 other files .*; 100 are needed at least/,
    );
  });
});
