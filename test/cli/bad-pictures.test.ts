import { createHash } from 'node:crypto';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp, { type Sharp } from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { packageRoot } from '../../cli/package-root.js';
import { scoreSchema } from '../../contracts/score.js';
import { shapePictures } from '../../evaluation/self-test/shape-pictures.js';
import { Graph, node } from '../../models/onnx/graph.js';
import { writeModel } from '../../models/onnx/model-proto.js';
import { npzFromTensors } from '../../models/tensors/npz.js';
import { float32, type Tensor } from '../../models/tensors/tensor.js';
import { goldenPath } from '../evaluation/golden.js';
import { rawPicture, writePictures } from './picture-folders.js';
import { runCli } from './run-cli.js';

const N = 50;
const SIZE = { height: 24, width: 30 } as const;

let folder: string;
let home: string;
let good: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'nibbleflow-bad-pictures-'));
  home = join(folder, 'home');
  good = await writePictures(join(folder, 'good'), { ...SIZE, n: N, seed: 1, shape: 'disc' });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const THREADS = ['--threads', '1'];

/** One clear message, exit code 2, nothing on stdout, no stack, and nothing written: neither features nor files. */
async function expectRefusal(args: readonly string[], ...messages: readonly RegExp[]): Promise<void> {
  const before = await namesBelow(folder);
  const result = await runCli([...args, ...(args.includes('--threads') ? [] : THREADS)], { NIBBLEFLOW_HOME: home });
  for (const message of messages) expect(result.stderr).toMatch(message);
  expect(result).toMatchObject({ code: 2, stdout: '' });
  expect(result.stderr).not.toMatch(/\n\s+at /);
  expect(await namesBelow(folder)).toEqual(before);
}

async function namesBelow(root: string): Promise<string[]> {
  return (await readdir(root, { recursive: true })).sort();
}

/** The good pictures and one more file. */
async function folderWith(name: string, file: string, bytes: Uint8Array): Promise<string> {
  const copy = join(folder, name);
  await cp(good, copy, { recursive: true });
  await writeFile(join(copy, file), bytes);
  return copy;
}

const pixels = (shape: 'disc' | 'bar' = 'bar'): Sharp =>
  rawPicture(shapePictures({ ...SIZE, n: 1, seed: 9, shape }), 0);

/** A PNG of 60,000 × 60,000 pixels in a few bytes: the header is all that a careful reader looks at. */
async function bomb(): Promise<Uint8Array> {
  const png = Uint8Array.from(
    await sharp({ create: { width: 8, height: 8, channels: 3, background: 'red' } })
      .png()
      .toBuffer(),
  );
  const view = new DataView(png.buffer);
  view.setUint32(16, 60_000);
  view.setUint32(20, 60_000);
  view.setUint32(29, crcOf(png.subarray(12, 29)));
  return png;
}

function crcOf(bytes: Uint8Array): number {
  let value = 0xffffffff;
  for (const byte of bytes) {
    value ^= byte;
    for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  }
  return (value ^ 0xffffffff) >>> 0;
}

describe('pictures that cannot be used are refused by name', () => {
  const score = (path: string): string[] => ['score', path, good];

  it('a file of zero bytes', async () => {
    await expectRefusal(score(await folderWith('zero', 'x.png', new Uint8Array(0))), /x\.png is empty \(0 bytes\)/);
  });

  it('a damaged file', async () => {
    const png = await pixels().png().toBuffer();
    const cut = await folderWith('cut', 'x.png', png.subarray(0, png.length - 200));
    await expectRefusal(score(cut), /1 of 51 pictures cannot be used/, /x\.png is damaged or not a picture/);
  });

  it('a text file that calls itself a picture', async () => {
    const text = new TextEncoder().encode('no picture');
    await expectRefusal(score(await folderWith('text', 'x.jpg', text)), /x\.jpg is damaged or not a picture/);
  });

  it('a decompression bomb, without unpacking it', async () => {
    await expectRefusal(
      score(await folderWith('bomb', 'x.png', await bomb())),
      /x\.png would have 60000 × 60000 pixels/,
    );
  });

  it('16 bits per channel', async () => {
    const deep = await pixels().toColourspace('rgb16').png().toBuffer();
    await expectRefusal(score(await folderWith('deep', 'x.png', deep)), /x\.png has 16 bits per channel/);
  });

  it('transparency', async () => {
    const clear = await sharp({ create: { ...SIZE, channels: 4, background: { r: 9, g: 9, b: 9, alpha: 0.5 } } })
      .png()
      .toBuffer();
    await expectRefusal(score(await folderWith('clear', 'x.png', clear)), /x\.png has transparent pixels/);
  });

  it('all of them at once', async () => {
    const path = await folderWith('several', 'x.png', new Uint8Array(0));
    await writeFile(join(path, 'y.png'), 'no picture');
    await expectRefusal(score(path), /2 of 52 pictures cannot be used/, /x\.png/, /y\.png/);
  });

  it('on the side of the reference, too', async () => {
    const path = await folderWith('reference', 'x.png', new Uint8Array(0));
    await expectRefusal(['score', good, path], /x\.png is empty/);
  });
});

describe('folders and options that cannot be used', () => {
  it('a folder that is not there', () =>
    expectRefusal(['score', join(folder, 'gone'), good], /the folder of pictures does not exist.*gone/));

  it('a reference that is not there', () =>
    expectRefusal(['score', good, join(folder, 'gone.npz')], /the reference does not exist.*gone\.npz/));

  it('a file instead of a folder', () =>
    expectRefusal(['score', join(good, '0000.png'), good], /the folder of pictures is not a folder/));

  it('an empty folder', async () => {
    await mkdir(join(folder, 'empty'));
    await expectRefusal(['score', join(folder, 'empty'), good], /no PNG or JPEG pictures; 50 are needed at least/);
  });

  it('too few pictures for a distance', async () => {
    const few = await writePictures(join(folder, 'few'), { ...SIZE, n: 12, seed: 2, shape: 'disc' });
    await expectRefusal(['score', few, good], /12 pictures; 50 are needed at least.*few/);
    await expectRefusal(['score', good, few], /12 pictures; 50 are needed at least.*few/);
  });

  it('pairs without partners', async () => {
    const other = await writePictures(
      join(folder, 'other'),
      { ...SIZE, n: N, seed: 3, shape: 'disc' },
      (i) => `o${i}.png`,
    );
    await expectRefusal(
      ['score', good, other, '--paired'],
      /pictures have no partner/,
      /o0 is only in .*good|o0 is only in .*other/,
    );
  });

  it('an unknown extractor', () =>
    expectRefusal(['score', good, good, '--extractor', 'cifar10-resnt'], /Did you mean cifar10-resnet\?/));

  it('an unknown metric, with the nearest one', () =>
    expectRefusal(['score', good, good, '--metrics', 'frechet,mint'], /no metric mint/, /Did you mean mind\?/));

  it('FID by its name, with what it is here', () =>
    expectRefusal(
      ['score', good, good, '--metrics', 'fid'],
      /no metric fid/,
      /frechet with --extractor inception-2015/,
    ));

  it('a metric of pairs without pairs', () =>
    expectRefusal(['score', good, good, '--metrics', 'psnr'], /Add --paired/));

  it('an unknown setting, with the nearest one', () =>
    expectRefusal(['score', good, good, '--set', 'settings.kidSubset=5'], /did you mean settings\.kidSubsets\?/));

  it('an impossible setting', () =>
    expectRefusal(['score', good, good, '--set', 'settings.kidSubsets=0'], /settings\.kidSubsets/));

  it('threads that are no number', () =>
    expectRefusal(['score', good, good, '--threads', 'many'], /threads must be a whole number/));
});

describe('statistics files that cannot be used', () => {
  const refused = async (name: string, arrays: Record<string, Tensor>, ...messages: RegExp[]): Promise<void> => {
    const path = join(folder, name);
    await writeFile(path, npzFromTensors(new Map(Object.entries(arrays))));
    await expectRefusal(['score', good, path], ...messages);
  };

  it('of other features', () =>
    refused(
      'other.npz',
      { mu: float32([2], [1, 2]), sigma: float32([2, 2], [1, 0, 0, 1]) },
      /have 2 features, cifar10-resnet@[0-9a-f]{8} makes 128/,
    ));

  it('with dimensions that do not match', () =>
    refused(
      'dims.npz',
      { mu: float32([3], [1, 2, 3]), sigma: float32([2, 2], [1, 0, 0, 1]) },
      /mu has 3 features and sigma has 2/,
    ));

  it('with NaN', () =>
    refused(
      'nan.npz',
      { mu: float32([1], [Number.NaN]), sigma: float32([1, 1], [1]) },
      /mu holds numbers that are not finite/,
    ));

  it('with a pickle, which is not executed', async () => {
    const cwd = join(folder, 'cwd');
    await mkdir(cwd);
    const args = ['score', good, goldenPath('statistics/object.npz'), ...THREADS];
    const result = await runCli(args, { NIBBLEFLOW_HOME: home }, cwd);
    expect(result).toMatchObject({ code: 2, stdout: '' });
    expect(result.stderr).toMatch(/Python objects \(a pickle\)/);
    expect(await readdir(cwd)).toEqual([]);
  });

  it('that are no statistics', () =>
    expectRefusal(['score', good, join(good, '0000.png')], /no header of statistics|cannot be used/));

  it('made with another resize', async () => {
    const path = join(folder, 'clean.safetensors');
    const made = await runCli(['stats', good, path, '--resize', 'clean', ...THREADS], { NIBBLEFLOW_HOME: home });
    expect(made).toMatchObject({ code: 0 });
    await expectRefusal(
      ['score', good, path],
      /made with --resize clean, asked for is extractor/,
      /Use --resize clean/,
    );
  });
});

describe('statistics and extractors', () => {
  it('of one model under two descriptions are not mixed', async () => {
    const path = join(folder, 'usual.safetensors');
    expect(await runCli(['stats', good, path, ...THREADS], { NIBBLEFLOW_HOME: home })).toMatchObject({ code: 0 });
    const other = join(folder, 'other-description');
    await cp(join(packageRoot(), 'models', 'zoo', 'cifar10-resnet'), other, { recursive: true });
    const file = join(other, 'extractor.json');
    const spec = JSON.parse(await readFile(file, 'utf8')) as { input: object };
    await writeFile(file, JSON.stringify({ ...spec, input: { ...spec.input, resize: 'pil-lanczos' } }));
    await expectRefusal(
      ['score', good, path, '--extractor', other],
      /another description of cifar10-resnet@[0-9a-f]{8}: its input size, kernel, range or outputs differ/,
    );
  });

  it('that make numbers which are not finite end in the name of a picture, and nothing is kept', async () => {
    const broken = await notFiniteExtractor(join(folder, 'not-finite'));
    const alone = join(folder, 'home-of-not-finite');
    const args = ['score', good, good, '--extractor', broken, ...THREADS];
    const result = await runCli(args, { NIBBLEFLOW_HOME: alone });
    expect(result).toMatchObject({ code: 2, stdout: '' });
    expect(result.stderr).toMatch(/made features that are not finite of \d{4}\.png/);
    expect(result.stderr).not.toMatch(/\n\s+at /);
    expect(await readdir(join(alone, 'store', 'results')).catch(() => [])).toEqual([]);
  });
});

describe('pictures of all kinds that can be used', () => {
  it('are scored, and every kind is noted', async () => {
    const mixed = await folderWith('mixed', 'jpeg.jpg', await pixels().jpeg().toBuffer());
    const large = { height: 48, width: 20, n: 1, seed: 5, shape: 'bar' } as const;
    await writeFile(join(mixed, 'large.png'), await rawPicture(shapePictures(large), 0).png().toBuffer());
    await writeFile(join(mixed, 'grey.png'), await pixels().toColourspace('b-w').png().toBuffer());
    await writeFile(join(mixed, 'opaque.png'), await pixels('disc').ensureAlpha(1).png().toBuffer());
    await cp(goldenPath('metrics/decoding/stray-bytes.jpg'), join(mixed, 'stray.jpg'));
    await writeFile(join(mixed, 'readme.txt'), 'no picture');
    const args = ['score', mixed, good, '--metrics', 'frechet', '--output', 'json', ...THREADS];
    const { code, stdout, stderr } = await runCli(args, { NIBBLEFLOW_HOME: home });
    expect({ code, stderr }).toMatchObject({ code: 0 });
    const [score] = scoreSchema.array().parse(JSON.parse(stdout));
    expect(score).toMatchObject({ n: N + 5, referenceN: N });
    const notes = score?.notes.join('\n');
    for (const note of [
      /2 of 55 pictures are JPEG:/,
      /1 of 55 pictures are JPEG with damaged places/,
      /1 of 55 pictures are grey/,
      /1 of 55 pictures have an alpha channel without transparency/,
      /pictures have 3 different sizes/,
      /1 other files in the folder were left out \(1 \.txt\)/,
    ]) {
      expect(notes).toMatch(note);
    }
  });
});

/** An extractor whose features are 0 / 0. */
async function notFiniteExtractor(path: string): Promise<string> {
  const graph = new Graph();
  graph.inputs = [{ name: 'x', type: 'float32', shape: ['batch', 3, 8, 8] }];
  graph.outputs = [{ name: 'y', type: 'float32', shape: ['batch', 3] }];
  graph.nodes = [
    node('Sub', ['x', 'x'], ['zero'], { name: 'sub' }),
    node('Div', ['zero', 'zero'], ['nan'], { name: 'div' }),
    node('GlobalAveragePool', ['nan'], ['pooled'], { name: 'pool' }),
    node('Flatten', ['pooled'], ['y'], { name: 'flatten' }),
  ];
  const spec = {
    name: 'not-finite',
    input: { name: 'x', layout: 'NCHW', size: [8, 8], resize: 'pil-bicubic', range: [0, 1] },
    outputs: { features: { name: 'y', dimension: 3 } },
  };
  await mkdir(path);
  await writeFile(join(path, 'model.onnx'), writeModel(graph));
  await writeFile(join(path, 'extractor.json'), JSON.stringify(spec));
  return path;
}

describe('nibbleflow stats refuses', () => {
  it('an ending that is no format, and a folder that cannot be written', async () => {
    await expectRefusal(['stats', good, join(folder, 'out.txt')], /ends in \.npz or \.safetensors/);
    const missing = await runCli(['stats', good, join(folder, 'no', 'out.npz')], { NIBBLEFLOW_HOME: home });
    expect(missing).toMatchObject({ code: 3, stdout: '' });
    expect(missing.stderr).toMatch(/OutputNotWritable.*no does not exist/);
  });

  it('features in an .npz', () =>
    expectRefusal(['stats', good, join(folder, 'out.npz'), '--features'], /an \.npz has no place for features/));

  it('bad pictures, keeping the file that was there', async () => {
    const path = join(folder, 'kept.npz');
    await writeFile(path, 'from before');
    const bad = await folderWith('bad-stats', 'x.png', new Uint8Array(0));
    await expectRefusal(['stats', bad, path], /x\.png is empty/);
    expect(
      createHash('sha256')
        .update(await readFile(path))
        .digest('hex'),
    ).toBe(createHash('sha256').update('from before').digest('hex'));
  });
});
