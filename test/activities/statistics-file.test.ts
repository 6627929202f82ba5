import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { findExtractor } from '../../activities/extractor-folder.js';
import { featureOrigin } from '../../activities/feature-protocol.js';
import { openStatisticsFile, writeStatisticsFile } from '../../activities/statistics-file.js';
import { type FeatureSet, rowsInMemory } from '../../evaluation/features/feature-set.js';
import type { ResizeMode } from '../../evaluation/features/resize-modes.js';
import { GaussianMoments } from '../../evaluation/statistics/gaussian-moments.js';
import {
  type ReferenceStatistics,
  refuseOtherOrigin,
  UNKNOWN_PROVENANCE,
} from '../../evaluation/statistics/reference-statistics.js';
import { refuseFewPictures } from '../../evaluation/statistics/refuse-few-pictures.js';
import type { OwnStatistics } from '../../evaluation/statistics/statistics-format.js';
import { npzFromTensors } from '../../models/tensors/npz.js';
import { gaussianTensor } from '../../models/tensors/random.js';
import { float32, type Tensor, tensor } from '../../models/tensors/tensor.js';
import { goldenPath } from '../evaluation/golden.js';

/** A number that went through float32. */
const FLOAT32_RELATIVE = 2 ** -23;

const expected = JSON.parse(readFileSync(goldenPath('statistics/expected.json'), 'utf8')) as {
  mu: number[];
  sigma: number[][];
  mu_s: number[];
  sigma_s: number[][];
};
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'nibbleflow-statistics-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

function largestDifference(actual: ArrayLike<number>, wanted: ArrayLike<number>): number {
  expect(actual.length).toBe(wanted.length);
  return Array.from(actual, (value, i) => Math.abs(value - (wanted[i] ?? Number.NaN))).reduce((a, b) => Math.max(a, b));
}

/** Opens, takes what `look` takes, closes. */
async function read<T>(path: string, look: (statistics: ReferenceStatistics) => T | Promise<T>): Promise<T> {
  const { statistics, close } = await openStatisticsFile(path);
  return Promise.resolve(look(statistics)).finally(close);
}

const N = 30;
const D = 5;

/** Statistics of seeded features, with rows. */
function ownStatistics(): OwnStatistics {
  const features = gaussianTensor(11, 0, [N, D]);
  const moments = GaussianMoments.of(features);
  const extractor = { name: 'some-net', sha256: 'ab'.repeat(32) };
  const rows: FeatureSet = {
    extractor,
    keys: Array.from({ length: N }, (_, i) => (i + 1).toString(16).padStart(64, '0')),
    pool: rowsInMemory(features),
    logits: rowsInMemory(gaussianTensor(11, 1, [N, 3])),
  };
  return {
    n: N,
    pool: { mean: moments.mean(), covariance: moments.covariance() },
    spatial: null,
    provenance: {
      extractor,
      resize: 'clean',
      protocol: 'ef'.repeat(32),
      pictures: 'cd'.repeat(32),
      nibbleflow: '0.1.0',
    },
    rows,
    notes: ['2 of 30 pictures are JPEG'],
  };
}

describe('an .npz of the common tools', () => {
  test('is read to the bit, and says that nobody knows its origin', async () => {
    await read(goldenPath('statistics/float64.npz'), ({ pool, spatial, n, provenance, rows, notes }) => {
      expect(largestDifference(pool.mean, expected.mu)).toBe(0);
      expect(largestDifference(pool.covariance.data, expected.sigma.flat())).toBe(0);
      expect({ spatial, n, provenance, rows, notes }).toEqual({
        spatial: null,
        n: null,
        provenance: null,
        rows: null,
        notes: [UNKNOWN_PROVENANCE],
      });
    });
  });

  test('is read deflated and in float32', async () => {
    await read(goldenPath('statistics/float32-deflated.npz'), ({ pool }) => {
      const largest = Math.max(...expected.sigma.flat().map(Math.abs));
      expect(largestDifference(pool.covariance.data, expected.sigma.flat())).toBeLessThan(FLOAT32_RELATIVE * largest);
    });
  });

  test('is read with the spatial statistics of guided-diffusion, column-major', async () => {
    await read(goldenPath('statistics/fortran-spatial.npz'), ({ spatial }) => {
      expect(largestDifference(spatial?.mean ?? [], expected.mu_s)).toBe(0);
      expect(largestDifference(spatial?.covariance.data ?? [], expected.sigma_s.flat())).toBe(0);
    });
  });

  test('with a pickle is refused, and nothing is executed', async () => {
    await expect(openStatisticsFile(goldenPath('statistics/object.npz'))).rejects.toThrow(/Python objects/);
    expect(existsSync('executed-by-npz')).toBe(false);
  });

  const vector = (...values: number[]): Tensor => tensor('float64', [values.length], Float64Array.from(values));
  const square = (d: number, ...values: number[]): Tensor => tensor('float64', [d, d], Float64Array.from(values));
  test.each<[string, Record<string, Tensor>, RegExp]>([
    [
      'mean and covariance of two sizes',
      { mu: vector(1, 2, 3), sigma: square(2, 1, 0, 0, 1) },
      /mu has 3.*sigma has 2/,
    ],
    ['a mean that is a matrix', { mu: square(2, 1, 0, 0, 1), sigma: square(2, 1, 0, 0, 1) }, /mu must be a vector/],
    ['a covariance that is a vector', { mu: vector(1, 2), sigma: vector(1, 1) }, /sigma must be square/],
    ['an asymmetric covariance', { mu: vector(1, 2), sigma: square(2, 1, 0.5, 0.4, 1) }, /not symmetric at \(1, 0\)/],
    ['a negative variance', { mu: vector(1, 2), sigma: square(2, 1, 0, 0, -1) }, /negative variance -1/],
    [
      'NaN in the mean',
      { mu: vector(1, Number.NaN), sigma: square(2, 1, 0, 0, 1) },
      /mu holds numbers that are not fini/,
    ],
    [
      'whole numbers',
      { mu: tensor('int32', [1], Int32Array.of(1)), sigma: square(1, 1) },
      /mu must be float32 or float64/,
    ],
    ['other arrays', { arr_0: vector(1) }, /no array "mu", it has: arr_0/],
  ])('with %s is refused', async (name, arrays, message) => {
    const path = join(folder, `${name.replaceAll(' ', '-')}.npz`);
    await writeFile(path, npzFromTensors(new Map(Object.entries(arrays))));
    await expect(openStatisticsFile(path)).rejects.toThrow(message);
    await expect(openStatisticsFile(path)).rejects.toMatchObject({ kind: 'InvalidInput' });
  });

  test('is written so that it is read again to the bit', async () => {
    const own = ownStatistics();
    const path = join(folder, 'written.npz');
    await writeStatisticsFile(path, own);
    await read(path, ({ pool, provenance }) => {
      expect(largestDifference(pool.mean, own.pool.mean)).toBe(0);
      expect(largestDifference(pool.covariance.data, own.pool.covariance.data)).toBe(0);
      expect(provenance).toBeNull();
    });
  });
});

describe("a file of nibbleflow's own format", () => {
  test('keeps moments, rows, origin and notes to the bit', async () => {
    const own = ownStatistics();
    const path = join(folder, 'own.safetensors');
    await writeStatisticsFile(path, own);
    await read(path, async ({ rows, pool, ...rest }) => {
      expect(rest).toEqual({ n: N, spatial: null, provenance: own.provenance, notes: own.notes });
      expect(largestDifference(pool.mean, own.pool.mean)).toBe(0);
      expect(largestDifference(pool.covariance.data, own.pool.covariance.data)).toBe(0);
      expect(rows?.keys).toEqual(own.rows?.keys);
      const part = await rows?.pool.read(7, 9);
      expect(largestDifference(part ?? [], (await own.rows?.pool.read(7, 9)) ?? [])).toBe(0);
      expect(
        largestDifference((await rows?.logits?.read(0, N)) ?? [], (await own.rows?.logits?.read(0, N)) ?? []),
      ).toBe(0);
    });
    await writeStatisticsFile(join(folder, 'again.safetensors'), ownStatistics());
    expect(Buffer.compare(await readFile(path), await readFile(join(folder, 'again.safetensors')))).toBe(0);
  });

  test('leaves nothing behind when writing it fails', async () => {
    const own = ownStatistics();
    const failing = {
      ...own.rows,
      pool: { n: N, d: D, read: () => Promise.reject(new Error('the disk of the rows')) },
    };
    const path = join(folder, 'never', 'own.safetensors');
    await expect(writeStatisticsFile(path, { ...own, rows: failing as FeatureSet })).rejects.toThrow(
      /disk of the rows/,
    );
    expect(await readdir(join(folder, 'never'))).toEqual([]);
  });

  test('is refused when it is cut, of another kind, or of another version', async () => {
    const path = join(folder, 'own.safetensors');
    await writeStatisticsFile(path, ownStatistics());
    const bytes = await readFile(path);
    const refused = async (content: Uint8Array, message: RegExp): Promise<void> => {
      const other = join(folder, 'broken.safetensors');
      await writeFile(other, content);
      await expect(openStatisticsFile(other)).rejects.toThrow(message);
      await expect(openStatisticsFile(other)).rejects.toThrow(/broken\.safetensors/);
    };
    await refused(bytes.subarray(0, bytes.length - 1), /truncated/);
    await refused(bytes.subarray(0, 20), /ends within its header/);
    await refused(new Uint8Array(0), /empty/);
    await refused(new TextEncoder().encode('a plain text file'), /no header of statistics/);
    await refused(
      Buffer.from(bytes.toString('latin1').replace('nibbleflow-statistics', 'nibbleflow-anotherone'), 'latin1'),
      /not of statistics/,
    );
    await refused(
      Buffer.from(bytes.toString('latin1').replace('"schemaVersion":"2"', '"schemaVersion":"1"'), 'latin1'),
      /version 1 of the format, known is 2.*nibbleflow stats/s,
    );
  });

  test('with rows that are not finite is refused when they are read', async () => {
    const own = ownStatistics();
    const rows = { ...own.rows, pool: rowsInMemory(float32([N, D], new Float32Array(N * D).fill(Number.NaN))) };
    const path = join(folder, 'nan.safetensors');
    await writeStatisticsFile(path, { ...own, rows: rows as FeatureSet });
    await read(path, (statistics) => expect(statistics.rows?.pool.read(0, 2)).rejects.toThrow(/not finite/));
  });

  test('of another extractor, resize, description or size of features is refused with the reason', () => {
    const own = ownStatistics();
    const { extractor, resize, protocol } = own.provenance;
    const wanted = { extractor, resize, protocol, dimension: D };
    const other = { name: 'other', sha256: 'ef'.repeat(32) };
    expect(() => refuseOtherOrigin(own, wanted)).not.toThrow();
    expect(() => refuseOtherOrigin(own, { ...wanted, extractor: other })).toThrow(
      /of another extractor: some-net@abababab, asked for is other@efefefef/,
    );
    expect(() => refuseOtherOrigin(own, { ...wanted, resize: 'legacy' })).toThrow(
      /--resize clean, asked for is legacy/,
    );
    expect(() => refuseOtherOrigin(own, { ...wanted, protocol: '0'.repeat(64) })).toThrow(
      /another description of some-net@abababab: its input size, kernel, range or outputs differ/,
    );
    expect(() => refuseOtherOrigin({ ...own, provenance: null }, { ...wanted, dimension: 7 })).toThrow(
      /have 5 features.*makes 7/,
    );
  });
});

describe('what decides features', () => {
  test('moves with the range, the kernel, the size and the outputs, under the resizing that is used alone', async () => {
    const found = await findExtractor('cifar10-resnet', folder);
    const { input, outputs } = found.spec;
    const [low, high] = [-0.5, 1.5] as const;
    const usual = featureOrigin(found, 'extractor').protocol;
    const withInput = (changes: object, mode: ResizeMode = 'extractor') =>
      featureOrigin({ ...found, spec: { ...found.spec, input: { ...input, ...changes } } }, mode).protocol;
    const others = [
      withInput({ range: [low, high] }),
      withInput({ resize: 'pil-lanczos' }),
      withInput({ size: [64, 64] }),
      featureOrigin({ ...found, sha256: '0'.repeat(64) }, 'extractor').protocol,
      featureOrigin({ ...found, spec: { ...found.spec, outputs: { features: outputs.features } } }, 'extractor')
        .protocol,
      featureOrigin(found, 'clean').protocol,
      withInput({ modes: { clean: { range: [low, high] } } }, 'clean'),
    ];
    expect(new Set([usual, ...others]).size).toBe(others.length + 1);
    expect(withInput({ modes: { clean: { range: [low, high] } } })).toBe(usual);
    expect(featureOrigin({ ...found, spec: { ...found.spec, batch: 3 } }, 'extractor').protocol).toBe(usual);
  });

  test('statistics of too few pictures are refused, unless nobody knows how many there were', () => {
    expect(() => refuseFewPictures({ n: 49 }, 'few.safetensors')).toThrow(
      /of 49 pictures; 50 are needed.*few\.safetensors/,
    );
    expect(() => refuseFewPictures({ n: 50 })).not.toThrow();
    expect(() => refuseFewPictures({ n: null })).not.toThrow();
  });
});
