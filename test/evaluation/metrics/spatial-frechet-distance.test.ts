import { describe, expect, test } from 'vitest';
import type { FeatureRows, FeatureSet } from '../../../evaluation/features/feature-set.js';
import { rowsInMemory } from '../../../evaluation/features/feature-set.js';
import { frechetOfRows } from '../../../evaluation/metrics/frechet-metric.js';
import { spatialFrechetDistance } from '../../../evaluation/metrics/spatial-frechet-distance.js';
import { scoreSets } from '../../../evaluation/score-sets.js';
import { diagonalFrechetDistance, knownRows } from '../../../evaluation/self-test/known-gaussian.js';
import { covarianceObstacle } from '../../../evaluation/statistics/covariance-size.js';
import { gaussianTensor, permutation } from '../../../models/tensors/random.js';
import { float32 } from '../../../models/tensors/tensor.js';
import { metricContext, normalRows } from './metric-context.js';

/** There is no golden sFID: it is proved by closed forms and invariances. */

/** Known rows are rounded to float32, distances are squares. */
const FLOAT32_RELATIVE = 1e-6;
/** Maps of c = 2 channels and 4 × 4 places, flattened. */
const [CHANNELS, PLACES] = [2, 16] as const;
const D = CHANNELS * PLACES;

const context = metricContext();

async function sfid(fake: FeatureRows, real: FeatureRows): Promise<number> {
  const [value] = await spatialFrechetDistance.compute(fake, real, context);
  return value?.value ?? Number.NaN;
}

/** n maps with a bright spot: at `place` of the first channel, or anywhere when that is null. */
function spots(seed: number, n: number, place: number | null): FeatureRows {
  const data = gaussianTensor(seed, 0, [n, D]).data.map((value) => 0.1 * value);
  const places = permutation(seed, 1, n);
  for (let row = 0; row < n; row += 1) {
    const at = row * D + (place ?? (places[row] as number) % PLACES);
    data[at] = (data[at] as number) + 3;
  }
  return rowsInMemory(float32([n, D], data));
}

/** Channel means of each map: what pooled features would see. */
async function pooled(rows: FeatureRows): Promise<FeatureRows> {
  const data = await rows.read(0, rows.n);
  const result = Float32Array.from({ length: rows.n * CHANNELS }, (_, i) => {
    const channel = data.subarray(i * PLACES, (i + 1) * PLACES);
    return channel.reduce((a, b) => a + b, 0) / PLACES;
  });
  return rowsInMemory(float32([rows.n, CHANNELS], result));
}

async function rearranged(rows: FeatureRows, order: Uint32Array): Promise<FeatureRows> {
  const data = await rows.read(0, rows.n);
  const moved = data.map((_, i) => data[i - (i % D) + (order[i % D] as number)] as number);
  return rowsInMemory(float32([rows.n, D], moved));
}

describe('spatialFrechetDistance', () => {
  test('reads the spatial output, two sides, from two pictures on', () => {
    expect(spatialFrechetDistance).toMatchObject({ id: 'sfid', output: 'spatial', sides: 2, minimum: 2 });
  });

  test('of diagonal Gaussians is |Δμ|² + Σ(Δσ)², also with fewer maps than numbers in one', async () => {
    const ramp = (first: number, step: number, length: number) => Array.from({ length }, (_, j) => first + step * j);
    const a = { mean: ramp(0, 0.1, D), deviation: ramp(0.5, 0.05, D) };
    const b = { mean: ramp(1, -0.02, D), deviation: ramp(2, -0.04, D) };
    const value = await sfid(rowsInMemory(knownRows(a)), rowsInMemory(knownRows(b)));
    expect(Math.abs(value / diagonalFrechetDistance(a, b) - 1)).toBeLessThan(FLOAT32_RELATIVE);
    const few = 10; // 20 rows in 32 dimensions: the last 22 are constant
    const narrow = (from: typeof a) => {
      const rows = knownRows({ mean: from.mean.slice(0, few), deviation: from.deviation.slice(0, few) });
      const data = new Float32Array(2 * few * D);
      for (let i = 0; i < 2 * few; i += 1) data.set(rows.data.subarray(i * few, (i + 1) * few), i * D);
      return rowsInMemory(float32([2 * few, D], data));
    };
    const cut = (from: typeof a) => ({ mean: from.mean.slice(0, few), deviation: from.deviation.slice(0, few) });
    const [score] = await spatialFrechetDistance.compute(narrow(a), narrow(b), context);
    expect(Math.abs((score?.value ?? 0) / diagonalFrechetDistance(cut(a), cut(b)) - 1)).toBeLessThan(FLOAT32_RELATIVE);
    expect(score?.notes?.join()).toMatch(/full rank/);
  });

  test('of a set and itself is exactly zero', async () => {
    for (const n of [20, 200]) expect(await sfid(spots(1, n, null), spots(1, n, null))).toBe(0);
  });

  test('does not depend on the order of channels and places, when it is the same on both sides', async () => {
    const [fake, real] = [spots(1, 120, 3), spots(2, 120, null)];
    const order = permutation(5, 0, D);
    const moved = await sfid(await rearranged(fake, order), await rearranged(real, order));
    expect(Math.abs(moved / (await sfid(fake, real)) - 1)).toBeLessThan(1e-9);
  });

  test('sees where things are, which pooled features do not', async () => {
    const [fixed, anywhere, again] = [spots(1, 400, 3), spots(2, 400, null), spots(3, 400, null)];
    const pooledDistance = async (a: FeatureRows, b: FeatureRows) =>
      (await frechetOfRows(await pooled(a), await pooled(b), context)).value;
    // a spot that is always at one place has lost the variance of places: 3² · (1 − 1/16) of it
    expect(await sfid(fixed, anywhere)).toBeGreaterThan(20 * (await sfid(anywhere, again)));
    expect(await pooledDistance(fixed, anywhere)).toBeLessThan(20 * (await pooledDistance(anywhere, again)));
    expect(await pooledDistance(fixed, anywhere)).toBeLessThan(1e-3 * (await sfid(fixed, anywhere)));
  });

  test('of maps too large for a covariance is left out before anything is read', async () => {
    const wide = (n: number): FeatureSet => ({
      extractor: { name: 'tiny', sha256: 'ab'.repeat(32) },
      keys: Array.from({ length: n }, (_, i) => String(i).padStart(64, '0')),
      pool: normalRows(1, n, 2),
      spatial: {
        n,
        d: 20_000,
        read: async (first, end) => {
          // Rows are read one by one to see that they are finite, never all of them.
          expect((end - first) * 20_000).toBeLessThanOrEqual(2 ** 22);
          return new Float32Array((end - first) * 20_000);
        },
      },
    });
    const request = { against: 'float' as const, metrics: ['sfid'], context, protocol: null };
    const [score] = await scoreSets({ ...request, fake: wide(3500), real: wide(100) });
    expect(score).toMatchObject({ metric: 'sfid', value: null, low: null });
    expect(score?.notes.join()).toMatch(
      /20000 numbers per picture are too many.*3500 × 20000 of them would take 0\.5 GB/,
    );
    // With few pictures the factor is small however wide they are.
    expect(covarianceObstacle(256, 20_000)).toBeNull();
    expect(covarianceObstacle(50_000, 8192)).toBeNull();
    expect(covarianceObstacle(50_000, 8193)).not.toBeNull();
  });
});
