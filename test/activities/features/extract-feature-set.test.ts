import { readFileSync } from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { EngineExecutor } from '../../../activities/engine/engine-executor.js';
import { extractFeatureSet } from '../../../activities/features/extract-feature-set.js';
import { featureSetOf, mergeFeatureSets, openFeatureSet } from '../../../activities/features/stored-feature-set.js';
import { openImageFolder } from '../../../activities/images/image-folder.js';
import { picturesInMemory } from '../../../activities/images/pictures-in-memory.js';
import { storePictures } from '../../../activities/images/store-pictures.js';
import { openStoredPictures } from '../../../activities/images/stored-pictures.js';
import { writePngFolder } from '../../../activities/images/write-png-folder.js';
import { digestOfFile, LocalStore } from '../../../activities/store/local-store.js';
import { StageCache } from '../../../activities/store/stage-cache.js';
import { extractFeatures } from '../../../evaluation/features/extract-features.js';
import { type Extractor, parseExtractorSpec } from '../../../evaluation/features/extractor-spec.js';
import type { FeatureRows, FeatureSet } from '../../../evaluation/features/feature-set.js';
import type { PictureSource } from '../../../evaluation/features/picture-source.js';
import type { Images } from '../../../evaluation/metrics/image-pairs.js';
import type { Executor } from '../../../models/executor.js';
import { uniforms } from '../../../models/tensors/random.js';
import { writeSafetensors } from '../../../models/tensors/safetensors.js';
import { concatRows, float32, sliceRows, tensor } from '../../../models/tensors/tensor.js';

const EXTRACTOR = fileURLToPath(new URL('../../../models/zoo/cifar10-resnet/', import.meta.url));
const OUTPUTS = ['pool', 'logits', 'spatial'] as const;

let folder: string;
let store: LocalStore;
let executor: EngineExecutor;
let extractor: Extractor;
beforeAll(async () => {
  executor = await EngineExecutor.start({ device: 'cpu', threads: 1 });
  const model = join(EXTRACTOR, 'model.onnx');
  const spec = parseExtractorSpec(JSON.parse(readFileSync(join(EXTRACTOR, 'extractor.json'), 'utf8')));
  extractor = { spec, sha256: await digestOfFile(model), model: { path: model } };
});
afterAll(() => executor?.close());
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'nibbleflow-features-'));
  store = await LocalStore.open(folder);
  return () => rm(folder, { recursive: true, force: true });
});

/** n different pictures of noise. */
function pictures(n: number, seed = 1): Images {
  const values = uniforms(seed, 0, n * 16 * 16 * 3);
  return tensor(
    'uint8',
    [n, 16, 16, 3],
    Uint8Array.from(values, (value) => Math.floor(value * 256)),
  );
}

function shuffled(images: Images, order: readonly number[]): Images {
  return concatRows(order.map((i) => sliceRows(images, i, i + 1)));
}

const quiet = { progress: () => undefined, breathe: async () => undefined };

function extract(
  images: PictureSource,
  options: { executor?: Executor; extractor?: Extractor; context?: typeof quiet } = {},
) {
  return extractFeatureSet({ images, extractor, resize: 'extractor', executor, store, context: quiet, ...options });
}

async function bytesOf(rows: FeatureRows | undefined): Promise<Buffer> {
  if (rows === undefined) throw new Error('no such output');
  return Buffer.from((await rows.read(0, rows.n)).buffer);
}

async function expectSame(a: FeatureSet, b: FeatureSet): Promise<void> {
  expect(a.keys.join()).toBe(b.keys.join());
  for (const output of OUTPUTS) expect(Buffer.compare(await bytesOf(a[output]), await bytesOf(b[output]))).toBe(0);
}

/** An engine that must not be used. */
const idle = new Proxy({ device: 'cpu' } as Executor, {
  get: (target, name) => {
    if (name === 'device') return target.device;
    throw new Error(`the engine was used: ${String(name)}`);
  },
  getPrototypeOf: () => EngineExecutor.prototype,
});

describe('extractFeatureSet', () => {
  test('gives what extractFeatures gives, in canonical order, duplicates included', async () => {
    const images = shuffled(pictures(40), [...Array(40).keys(), 3, 3, 17]);
    const source = picturesInMemory(images);
    const { set, extracted } = await extract(source);
    expect(extracted).toBe(40);
    expect(set.keys).toHaveLength(43);
    expect([...set.keys].sort().join()).toBe(set.keys.join());
    const direct = await extractFeatures({
      extractor: await executor.open(extractor.model),
      spec: extractor.spec,
      images,
    });
    for (const output of OUTPUTS) {
      const expected = set.keys.map((key) => {
        const at = source.keys.indexOf(key);
        return sliceRows(direct[output] as NonNullable<(typeof direct)[typeof output]>, at, at + 1);
      });
      const bytes = Buffer.from(concatRows(expected).data.buffer);
      expect(Buffer.compare(await bytesOf(set[output]), bytes)).toBe(0);
    }
    const part = await set.pool.read(5, 9);
    expect(Buffer.compare(Buffer.from(part.buffer), (await bytesOf(set.pool)).subarray(5 * 512, 9 * 512))).toBe(0);
  });

  test('does not depend on the order of the pictures, and a second call computes nothing', async () => {
    const images = pictures(50);
    const first = await extract(picturesInMemory(images));
    const backwards = [...Array(50).keys()].reverse();
    const second = await extract(picturesInMemory(shuffled(images, backwards)), {
      executor: sameIdentity(idle),
    });
    expect(second.extracted).toBe(0);
    expect(second.ref).toEqual(first.ref);
    await expectSame(first.set, second.set);
    await expectSame(first.set, await openFeatureSet(store, first.ref));
  });

  test('gives the same set for pictures in memory, packed, as PNG artifacts and as a folder of PNG files', async () => {
    const images = pictures(20);
    const memory = await extract(picturesInMemory(images));
    for (const format of ['packed', 'png'] as const) {
      const parts = [sliceRows(images, 12, 20), sliceRows(images, 0, 12)];
      const refs = [];
      for (const part of parts) refs.push(await storePictures(store, part, format));
      const stored = await extract(await openStoredPictures(store, refs));
      expect([stored.ref, stored.extracted]).toEqual([memory.ref, 0]);
    }
    await writePngFolder(picturesInMemory(images), join(folder, 'pictures'));
    const fromFolder = await extract(await openImageFolder(join(folder, 'pictures')));
    expect([fromFolder.ref, fromFolder.extracted]).toEqual([memory.ref, 0]);
    // and what is decoded of them makes the same features: in a store that knows none of them
    const elsewhere = await LocalStore.open(join(folder, 'other'));
    const source = await openImageFolder(join(folder, 'pictures'));
    const again = await extractFeatureSet({
      images: source,
      extractor,
      resize: 'extractor',
      executor,
      store: elsewhere,
      context: quiet,
    });
    expect([again.ref, again.extracted]).toEqual([memory.ref, 20]);
  });

  test('goes on where it was killed, with the same bits', async () => {
    const source = picturesInMemory(pictures(900));
    let seen = 0;
    const killed = extract(source, {
      context: {
        ...quiet,
        breathe: async () => {
          seen += 1;
          if (seen === 20) throw new Error('killed');
        },
      },
    });
    await expect(killed).rejects.toThrow('killed');
    const resumed = await extract(source);
    expect(resumed.extracted).toBeGreaterThan(0);
    expect(resumed.extracted).toBeLessThan(900 - 200);
    const elsewhere = await LocalStore.open(join(folder, 'other'));
    const whole = await extractFeatureSet({
      images: source,
      extractor,
      resize: 'extractor',
      executor,
      store: elsewhere,
      context: quiet,
    });
    expect(whole.extracted).toBe(900);
    expect(whole.ref).toEqual(resumed.ref);
    await expectSame(whole.set, resumed.set);
  });

  test('sets of shards merge into the set of all, whatever the shards', async () => {
    const images = pictures(60);
    const whole = await extract(picturesInMemory(images));
    for (const cut of [1, 20, 37]) {
      const parts = [sliceRows(images, cut, 60), sliceRows(images, 0, cut)];
      const refs = [];
      for (const part of parts) refs.push((await extract(picturesInMemory(part))).ref);
      await expectSame(await openFeatureSet(store, await mergeFeatureSets(store, refs)), whole.set);
    }
    const twice = await openFeatureSet(store, await mergeFeatureSets(store, [whole.ref, whole.ref]));
    expect(twice.keys).toHaveLength(120);
    expect(twice.keys[0]).toBe(twice.keys[1]);
    const clean = await extractFeatureSet({
      images: picturesInMemory(images),
      extractor,
      resize: 'clean',
      executor,
      store,
      context: quiet,
    });
    await expect(mergeFeatureSets(store, [whole.ref, clean.ref])).rejects.toThrow(/cannot be one set/);
  });

  test('other resizing, another extractor or another picture is extracted anew, the rest is not', async () => {
    const images = pictures(30);
    const first = await extract(picturesInMemory(images));
    const clean = await extractFeatureSet({
      images: picturesInMemory(images),
      extractor,
      resize: 'clean',
      executor,
      store,
      context: quiet,
    });
    expect(clean.extracted).toBe(30);
    expect(Buffer.compare(await bytesOf(first.set.pool), await bytesOf(clean.set.pool))).not.toBe(0);
    const renamed = { ...extractor, sha256: 'ab'.repeat(32) };
    expect((await extract(picturesInMemory(images), { extractor: renamed })).extracted).toBe(30);
    const large = pictures(1500, 2);
    await extract(picturesInMemory(large));
    const more = await extract(picturesInMemory(concatRows([large, sliceRows(images, 0, 1)])));
    expect(more.extracted).toBeLessThanOrEqual(512);
  });

  test('names the picture that makes features which are not finite, and keeps nothing of its chunk', async () => {
    const black = tensor('uint8', [1, 16, 16, 3], new Uint8Array(768));
    const broken = {
      ...extractor.spec,
      input: { ...extractor.spec.input, range: [-3e38, 3e38] as [number, number] },
    };
    const source = { ...picturesInMemory(black), nameOf: () => 'black.png' };
    await expect(extract(source, { extractor: { ...extractor, spec: broken } })).rejects.toThrow(
      /not finite of black\.png/,
    );
    expect(await readdir(join(folder, 'objects'))).toEqual([]);
  });

  test('a set whose chunk is gone is not reused', async () => {
    const source = picturesInMemory(pictures(20));
    const { ref } = await extract(source);
    const cache = new StageCache(store);
    await cache.save('ab'.repeat(32), { ref });
    expect(await cache.load('ab'.repeat(32))).toEqual({ ref });
    for (const two of await readdir(join(folder, 'objects'))) {
      if (!ref.digest.startsWith(two)) await rm(join(folder, 'objects', two), { recursive: true });
    }
    expect(await cache.load('ab'.repeat(32))).toBeUndefined();
    await expect((await openFeatureSet(store, ref)).pool.read(0, 1)).rejects.toThrow(/not in the store/);
    expect((await extract(source)).extracted).toBe(20);
  });
});

describe('featureSetOf', () => {
  /** A key, eight bytes of places, and what V8 needs around them. */
  const BYTES_PER_PICTURE = 300;

  test('holds places, not features: a read allocates its own rows and nothing else', async () => {
    const [chunkCount, rows, d] = [16, 512, 512];
    const chunks = [];
    for (let chunk = 0; chunk < chunkCount; chunk += 1) {
      const keys = Array.from({ length: rows }, (_, row) => (chunk * rows + row).toString(16).padStart(64, '0'));
      const pool = float32([rows, d], new Float32Array(rows * d).fill(chunk));
      chunks.push({ features: await store.put('features', writeSafetensors(new Map([['pool', pool]]))), keys });
    }
    const before = process.memoryUsage();
    const set = featureSetOf(store, {
      schemaVersion: 1,
      extractor: { name: 'e', sha256: 'ab'.repeat(32) },
      resize: 'extractor',
      widths: { pool: d },
      chunks,
      repeats: {},
    });
    const held = process.memoryUsage().arrayBuffers - before.arrayBuffers;
    expect(held).toBeLessThan(chunkCount * rows * BYTES_PER_PICTURE);
    expect(held).toBeLessThan((chunkCount * rows * d * 4) / 10);
    const tile = await set.pool.read(500, 1030);
    expect(tile.buffer.byteLength).toBe(530 * d * 4);
    expect([tile[0], tile[12 * d - 1], tile[12 * d], tile[524 * d]]).toEqual([0, 0, 1, 2]);
  });
});

/** The idle engine passes for this file's engine: device and threads are part of what features are kept under. */
function sameIdentity(one: Executor): Executor {
  return new Proxy(one, {
    get: (target, name) => (name === 'threads' ? executor.threads : Reflect.get(target, name)),
    getPrototypeOf: () => EngineExecutor.prototype,
  });
}
