import { describe, expect, test } from 'vitest';
import { EngineExecutor } from '../../../activities/engine/engine-executor.js';
import { type FeatureRows, reorderedRows, rowsInMemory } from '../../../evaluation/features/feature-set.js';
import { executorProducts } from '../../../evaluation/linalg/executor-products.js';
import { frechetDistance } from '../../../evaluation/metrics/frechet-distance.js';
import { frechetMetric, frechetOfRows, frechetOfStatistics } from '../../../evaluation/metrics/frechet-metric.js';
import { diagonalFrechetDistance, knownRows } from '../../../evaluation/self-test/known-gaussian.js';
import { GaussianMoments } from '../../../evaluation/statistics/gaussian-moments.js';
import { gaussianTensor, permutation } from '../../../models/tensors/random.js';
import { float32 } from '../../../models/tensors/tensor.js';
import { GOLDEN_CASES, goldenFeatures, metricContext, normalRows, tensorOf } from './metric-context.js';

interface Expected {
  readonly frechet_distance: { readonly exact_nuclear_norm: number; readonly mean_term: number };
}

/** The golden set's own tolerance: the libraries it was made with agree this far. */
const GOLDEN_RELATIVE = 1e-6;
const GOLDEN_ABSOLUTE = 1e-7;
/** Known rows are rounded to float32, 2⁻²⁴ of each coordinate; distances are squares. */
const FLOAT32_RELATIVE = 1e-6;
/** Two float64 ways to the same distance, relative to the variances in it: covariances squared and not. */
const FLOAT64_RELATIVE = 1e-11;

const context = metricContext();

async function varianceOf(...sides: readonly FeatureRows[]): Promise<number> {
  const traces = await Promise.all(
    sides.map(async (rows) => {
      const { rows: d, data } = GaussianMoments.of(await tensorOf(rows)).covariance();
      return Array.from({ length: d }, (_, i) => data[i * d + i] as number).reduce((a, b) => a + b, 0);
    }),
  );
  return traces.reduce((a, b) => a + b, 0);
}

describe('frechetOfRows', () => {
  test.each(GOLDEN_CASES)('of the golden case %s is the reference value', async (name) => {
    const { fake, real, expected } = goldenFeatures<Expected>(name);
    const { value, raw, meanTerm } = await frechetOfRows(fake, real, context);
    const { exact_nuclear_norm: want, mean_term: wantMean } = expected.frechet_distance;
    expect(Math.abs(value - want)).toBeLessThanOrEqual(GOLDEN_RELATIVE * want + GOLDEN_ABSOLUTE);
    expect(Math.abs(raw - value)).toBeLessThanOrEqual(GOLDEN_RELATIVE);
    expect(Math.abs(meanTerm - wantMean)).toBeLessThanOrEqual(GOLDEN_RELATIVE * wantMean + GOLDEN_ABSOLUTE);
  });

  test.each(GOLDEN_CASES)('agrees with Jacobi rotations on factors that were never squared: %s', async (name) => {
    const { fake, real } = goldenFeatures<Expected>(name);
    const { raw } = await frechetOfRows(fake, real, context);
    const jacobi = frechetDistance(await tensorOf(fake), await tensorOf(real));
    expect(Math.abs(raw - jacobi.raw)).toBeLessThan(
      FLOAT64_RELATIVE * (jacobi.meanTerm + (await varianceOf(fake, real))),
    );
  });

  test.each(['identical', 'n_lt_d', 'heavy_tail'])('of a set and itself is shown as exactly zero: %s', async (name) => {
    const { real } = goldenFeatures<Expected>(name);
    for (const other of [real, reorderedRows(real, permutation(3, 0, real.n))]) {
      const { value, raw, low, notes } = await frechetOfRows(real, other, context);
      expect([value, low]).toEqual([0, 0]);
      expect(Math.abs(raw)).toBeLessThan(1e-10 * (await varianceOf(real, real)));
      if (raw !== 0) expect(notes.join()).toMatch(/shown as 0/);
    }
  });

  test('of diagonal covariances in 150 dimensions is |Δμ|² + Σ(Δσ)²', async () => {
    const ramp = (first: number, last: number) =>
      Array.from({ length: 150 }, (_, j) => first + ((last - first) * j) / 149);
    const a = { mean: ramp(0, 1), deviation: ramp(0.2, 3) };
    const b = { mean: ramp(1, 0.5), deviation: ramp(2.5, 0.1) };
    const { value } = await frechetOfRows(rowsInMemory(knownRows(a)), rowsInMemory(knownRows(b)), context);
    expect(Math.abs(value / diagonalFrechetDistance(a, b) - 1)).toBeLessThan(FLOAT32_RELATIVE);
  });

  test('of commuting covariances is the same after any common rotation, and with any scale squared', async () => {
    const a = { mean: [1, 2, 3, 4], deviation: [1, 0.5, 2, 4] };
    const b = { mean: [0, 2, 1, 4], deviation: [2, 0.25, 2, 1] };
    const turned = (rows: ReturnType<typeof knownRows>, scale: number) =>
      float32(rows.dims, hadamard(rows.data, scale));
    for (const scale of [1, 1e-3, 1e4]) {
      const left = rowsInMemory(turned(knownRows(a), scale));
      const right = rowsInMemory(turned(knownRows(b), scale));
      const { value } = await frechetOfRows(left, right, context);
      expect(Math.abs(value / (scale * scale * diagonalFrechetDistance(a, b)) - 1)).toBeLessThan(FLOAT32_RELATIVE);
    }
  });

  test('of ranks that are missing is the closed form: constant features, and fewer rows than features', async () => {
    const axes = 20;
    const spread = (factor: number) => Array.from({ length: axes }, (_, j) => factor * (1 + (j % 5)));
    const a = { mean: spread(0.1), deviation: spread(1) };
    const b = { mean: spread(0), deviation: spread(0.6).reverse() };
    for (const d of [30, 90]) {
      const left = rowsInMemory(widened(knownRows(a), d));
      const right = rowsInMemory(widened(knownRows(b), d));
      const { value, notes } = await frechetOfRows(left, right, context);
      expect(Math.abs(value / diagonalFrechetDistance(a, b) - 1)).toBeLessThan(FLOAT32_RELATIVE);
      expect(notes.some((note) => note.includes('full rank'))).toBe(d === 90);
    }
  });

  test('does not depend on how rows are read, to the bit, and is symmetric', async () => {
    const fake = normalRows(1, 2500, 6, 0.3);
    const real = normalRows(2, 2300, 6);
    const pieces = reorderedRows(
      fake,
      Uint32Array.from({ length: fake.n }, (_, i) => i),
    );
    const whole = await frechetOfRows(fake, real, context);
    expect(await frechetOfRows(pieces, real, context)).toEqual(whole);
    const back = await frechetOfRows(real, fake, context);
    expect(Math.abs(back.raw / whole.raw - 1)).toBeLessThan(1e-9);
    expect(Math.abs(back.standardError / whole.standardError - 1)).toBeLessThan(1e-9);
  });

  test('on the engine equals plain loops, with 160 features of a wide spread, and the closed form, with 500', async () => {
    const executor = await EngineExecutor.start({ device: 'cpu', threads: 1 });
    const products = executorProducts(executor);
    const correlated = (seed: number): FeatureRows => {
      const { data } = gaussianTensor(seed, 0, [400, 160]);
      return rowsInMemory(
        float32(
          [400, 160],
          data.map((value, i) => value * 10 ** (-(i % 160) / 32) + (data[i - (i % 160)] ?? 0)),
        ),
      );
    };
    const [fake, real] = [correlated(5), correlated(6)];
    const fast = await frechetOfRows(fake, real, { ...context, products });
    const plain = await frechetOfRows(fake, real, context);
    const jacobi = frechetDistance(await tensorOf(fake), await tensorOf(real));
    const scale = jacobi.meanTerm + (await varianceOf(fake, real));
    expect(Math.abs(fast.raw - plain.raw)).toBeLessThan(FLOAT64_RELATIVE * scale);
    expect(Math.abs(fast.raw - jacobi.raw)).toBeLessThan(FLOAT64_RELATIVE * scale);
    expect(Math.abs(fast.standardError / plain.standardError - 1)).toBeLessThan(1e-6);
    const ramp = (first: number, last: number) =>
      Array.from({ length: 500 }, (_, j) => first + ((last - first) * j) / 499);
    const a = { mean: ramp(0, 1), deviation: ramp(0.01, 3) };
    const b = { mean: ramp(0.2, 0.5), deviation: ramp(2.5, 0.1) };
    const [left, right] = [rowsInMemory(knownRows(a)), rowsInMemory(knownRows(b))];
    const { value } = await frechetOfRows(left, right, { ...context, products });
    expect(Math.abs(value / diagonalFrechetDistance(a, b) - 1)).toBeLessThan(FLOAT32_RELATIVE);
    await products.release();
    await executor.close();
  });

  test('refuses one row, other sizes and numbers that are not finite', async () => {
    const two = normalRows(1, 2, 3);
    await expect(frechetOfRows(normalRows(1, 1, 3), two, context)).rejects.toThrow(/n ≥ 2/);
    await expect(frechetOfRows(normalRows(1, 2, 4), two, context)).rejects.toThrow(/differ in size/);
    for (const n of [3, 9]) {
      const broken = await tensorOf(normalRows(1, n, 3));
      broken.data[4] = Number.POSITIVE_INFINITY;
      await expect(frechetOfRows(rowsInMemory(broken), two, context)).rejects.toThrow(/Infinity in row 1, feature 1/);
    }
  });
});

/** Every row of [n, 4] by the orthogonal Hadamard matrix, and by `scale`. */
function hadamard(data: Float32Array, scale: number): Float32Array {
  return data.map((_, at) => {
    const column = at % 4;
    const terms = [0, 1, 2, 3].map((k) => (parity(column & k) === 0 ? 1 : -1) * (data[at - column + k] as number));
    return (scale * terms.reduce((a, b) => a + b, 0)) / 2;
  });
}

function parity(bits: number): number {
  return (bits ^ (bits >> 1)) & 1;
}

/** Rows with constant features behind their own. */
function widened({ dims, data }: ReturnType<typeof knownRows>, d: number): ReturnType<typeof knownRows> {
  const [n = 0, axes = 0] = dims;
  const result = new Float32Array(n * d).fill(2);
  for (let row = 0; row < n; row += 1) result.set(data.subarray(row * axes, (row + 1) * axes), row * d);
  return float32([n, d], result);
}

describe('frechetOfStatistics', () => {
  test('equals the distance of the rows behind the statistics', async () => {
    const { fake, real } = goldenFeatures<Expected>('full_rank');
    const moments = GaussianMoments.of(await tensorOf(real));
    const reference = { n: real.n, mean: moments.mean(), covariance: moments.covariance() };
    const ofFile = await frechetOfStatistics(fake, reference, context);
    const ofRows = await frechetOfRows(fake, real, context);
    expect(Math.abs(ofFile.raw / ofRows.raw - 1)).toBeLessThan(1e-9);
    expect(ofFile.standardError).toBeLessThan(ofRows.standardError);
    expect(ofFile.notes.join()).toMatch(/interval leaves out/);
    expect((await frechetOfStatistics(fake, { ...reference, n: null }, context)).n).toEqual([fake.n, null]);
  });

  test('bears a covariance that was rounded to float32, also of missing rank', async () => {
    const { fake, real } = goldenFeatures<Expected>('n_lt_d');
    const moments = GaussianMoments.of(await tensorOf(real));
    const { rows, cols, data } = moments.covariance();
    const rounded = { rows, cols, data: Float64Array.from(Float32Array.from(data)) };
    const { raw } = await frechetOfStatistics(fake, { n: null, mean: moments.mean(), covariance: rounded }, context);
    const exact = (await frechetOfRows(fake, real, context)).raw;
    // variances below √d·2⁻²⁴ of the largest are left out, their roots are what the distance sees
    expect(Math.abs(raw / exact - 1)).toBeLessThan(1e-3);
  });

  test('refuses what is no covariance, and statistics of one picture', async () => {
    const fake = normalRows(1, 20, 2);
    const covariance = { rows: 2, cols: 2, data: Float64Array.of(1, 2, 2, 1) };
    const mean = new Float64Array(2);
    await expect(frechetOfStatistics(fake, { n: 9, mean, covariance }, context)).rejects.toThrow(/no covariance/);
    await expect(frechetOfStatistics(fake, { n: 1, mean, covariance }, context)).rejects.toThrow(/one picture/);
  });
});

describe('the interval', () => {
  /** Estimates of `count` independent pairs of sets. */
  async function repeated(count: number, draw: (seed: number) => readonly [FeatureRows, FeatureRows], of = context) {
    const result = [];
    for (let seed = 0; seed < count; seed += 1) result.push(await frechetOfRows(...draw(seed), of));
    return result;
  }
  type Estimates = Awaited<ReturnType<typeof repeated>>;
  const meanOf = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
  const deviationOf = (values: readonly number[]): number =>
    Math.sqrt(meanOf(values.map((value) => (value - meanOf(values)) ** 2)));
  const coverage = (estimates: Estimates, target: number): number =>
    meanOf(estimates.map(({ low, high }) => (low <= target && target <= high ? 1 : 0)));
  /** Root mean square standard error over the true standard deviation. */
  const widening = (estimates: Estimates): number =>
    Math.sqrt(meanOf(estimates.map(({ standardError }) => standardError ** 2))) /
    deviationOf(estimates.map(({ raw }) => raw));

  /** E s / σ of n normal numbers: c(n)·c(n + 1) = √(1 − 1/n)… by its recursion from c(2) = √(2/π). */
  const meanDeviation = (n: number): number => {
    let value = Math.sqrt(2 / Math.PI);
    for (let k = 2; k < n; k += 1) value = Math.sqrt((k - 1) / k) / value;
    return value;
  };

  test('covers the expected distance of two normal samples, which is known in one dimension', async () => {
    const [n, shift, scale] = [40, 0.8, 1.5];
    const estimates = await repeated(600, (seed) => [
      normalRows(2 * seed, n, 1),
      normalRows(2 * seed + 1, n, 1, shift, scale),
    ]);
    const expected = shift ** 2 + (1 + scale ** 2) / n + 1 + scale ** 2 - 2 * scale * meanDeviation(n) ** 2;
    // the mean of 600 is within four of its standard errors
    const values = estimates.map(({ raw }) => raw);
    expect(Math.abs(meanOf(values) - expected)).toBeLessThan((4 * deviationOf(values)) / Math.sqrt(600));
    // 0.95, give or take four binomial deviations and what a skewed value costs a symmetric interval
    expect(coverage(estimates, expected)).toBeGreaterThan(0.9);
    expect(coverage(estimates, expected)).toBeLessThan(0.985);
  });

  test.each([
    ['more rows than features', 100, 8],
    ['fewer rows than features', 20, 30],
  ])('covers the mean distance and is not much too wide: %s', async (_name, n, d) => {
    const estimates = await repeated(200, (seed) => [
      normalRows(2 * seed, n, d),
      normalRows(2 * seed + 1, n, d, 0.4, 1.3),
    ]);
    expect(coverage(estimates, meanOf(estimates.map(({ raw }) => raw)))).toBeGreaterThan(0.9);
    expect(widening(estimates)).toBeGreaterThan(0.85);
    expect(widening(estimates)).toBeLessThan(1.45);
  });

  test('is about √2 too wide where both sets come from one distribution', async () => {
    const estimates = await repeated(200, (seed) => [normalRows(2 * seed, 100, 8), normalRows(2 * seed + 1, 100, 8)]);
    expect(coverage(estimates, meanOf(estimates.map(({ raw }) => raw)))).toBeGreaterThan(0.95);
    expect(widening(estimates)).toBeGreaterThan(1.15);
    expect(widening(estimates)).toBeLessThan(1.7);
  });

  test.each([
    ['more rows than features', 100, 6],
    ['fewer rows than features', 16, 24],
  ])('of same-seed pairs knows that they are no independent sets: %s', async (_name, n, d) => {
    const order = permutation(8, 0, n);
    const partners = new Uint32Array(n);
    for (const [row, partner] of order.entries()) partners[partner] = row;
    const pairs = (seed: number): readonly [FeatureRows, FeatureRows] => {
      const { data } = gaussianTensor(seed, 0, [n, d]);
      const noise = gaussianTensor(seed, 1, [n, d]).data;
      const other = data.map((value, i) => 1.2 * value + 0.3 + 0.1 * (noise[i] as number));
      return [rowsInMemory(float32([n, d], data)), reorderedRows(rowsInMemory(float32([n, d], other)), order)];
    };
    const paired = await repeated(150, pairs, { ...context, partners });
    const asIfIndependent = await repeated(150, pairs);
    expect(widening(paired)).toBeGreaterThan(0.8);
    expect(widening(paired)).toBeLessThan(1.5);
    expect(widening(asIfIndependent)).toBeGreaterThan(1.5 * widening(paired));
  });

  test('is found from the first 1024 rows when there are more', async () => {
    const estimate = await frechetOfRows(normalRows(1, 6000, 3, 2), normalRows(2, 6000, 3), context);
    // of a shift δ the error is √(4·|δ|²·(1/n + 1/m)); a standard deviation of 1024 numbers is known to 2.2 %
    expect(estimate.standardError / Math.sqrt((4 * 12 * 2) / 6000)).toBeCloseTo(1, 1);
  });
});

describe('frechetMetric', () => {
  test('is a row of one value with an interval around it', async () => {
    const [value, ...others] = await frechetMetric.compute(normalRows(1, 50, 4, 1), normalRows(2, 60, 4), context);
    expect(others).toEqual([]);
    expect(value).toMatchObject({ metric: 'frechet', interval: 'jackknife', better: 'lower' });
    expect(value?.low).toBeLessThan(value?.value ?? 0);
    expect(value?.high).toBeGreaterThan(value?.value ?? 0);
  });
});
