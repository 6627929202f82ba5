import { describe, expect, test } from 'vitest';
import { rowsInMemory } from '../../../evaluation/features/feature-set.js';
import { mongeInceptionDistance } from '../../../evaluation/metrics/monge-inception-distance.js';
import {
  slicedSquares,
  slicedWasserstein,
  squaredDistanceOfSorted,
  unitDirections,
} from '../../../evaluation/metrics/sliced-wasserstein.js';
import { zeroMatrix } from '../../../models/linalg/matrix.js';
import { float32 } from '../../../models/tensors/tensor.js';
import { goldenNpy } from '../golden.js';
import { GOLDEN_CASES, goldenFeatures, metricContext, namedValue, normalRows, tensorOf } from './metric-context.js';

interface Expected {
  readonly sliced_wasserstein: { readonly pot_sliced_wasserstein_p2: number };
}

/** POT and numpy agree to 1e-12; the tags in the lowest bits cost 2⁻⁴⁸ of values that are hundreds times their differences. */
const GOLDEN_RELATIVE = 1e-10;
const GOLDEN_ABSOLUTE = 1e-12;

/** Relative standard deviation of a mean of M squares of (θ·μ)²: √(2/M); five of them are never seen. */
const DIRECTIONS_SLACK = 5 * Math.sqrt(2 / 1000);

describe('the sliced Wasserstein distance', () => {
  test.each(GOLDEN_CASES)('of the golden case %s and its projections is the reference value', async (name) => {
    const { fake, real, expected } = goldenFeatures<Expected>(name);
    const { dims, data } = goldenNpy(`metrics/features/${name}/projections.npy`);
    const [a = 0, b = 0] = dims;
    const [count, at] =
      b === fake.d ? [a, (m: number, j: number) => m * b + j] : [b, (m: number, j: number) => j * b + m];
    const directions = (first: number, end: number) => {
      const result = zeroMatrix(end - first, fake.d);
      for (let m = first; m < end; m += 1) {
        for (let j = 0; j < fake.d; j += 1) result.data[(m - first) * fake.d + j] = Number(data[at(m, j)]);
      }
      return result;
    };
    const { squares } = await slicedSquares(fake, real, count, directions, metricContext());
    const found = Math.sqrt(squares.reduce((sum, value) => sum + value, 0) / count);
    const want = expected.sliced_wasserstein.pot_sliced_wasserstein_p2;
    expect(Math.abs(found - want)).toBeLessThan(GOLDEN_RELATIVE * want + GOLDEN_ABSOLUTE);
  });

  test('matches quantiles of unequal sizes as repeating both to a common size does', () => {
    const x = [0.3, 1, 4, 4.5];
    const y = [-1, 2, 2.5, 3, 7, 8];
    const repeated = (values: readonly number[], times: number) =>
      Float64Array.from(values.flatMap((value) => Array<number>(times).fill(value)));
    expect(squaredDistanceOfSorted(Float64Array.from(x), Float64Array.from(y))).toBeCloseTo(
      squaredDistanceOfSorted(repeated(x, 3), repeated(y, 2)),
      12,
    );
  });

  test('has directions of length 1 that depend on the seed and their number alone', () => {
    const all = unitDirections(7, 0, 5, 33);
    const late = unitDirections(7, 3, 5, 33);
    expect(Buffer.compare(Buffer.from(late.data.buffer), Buffer.from(all.data.slice(3 * 33).buffer))).toBe(0);
    for (let m = 0; m < 5; m += 1) {
      expect(all.data.subarray(m * 33, (m + 1) * 33).reduce((sum, value) => sum + value * value, 0)).toBeCloseTo(1, 12);
    }
  });
});

describe('the Monge inception distance', () => {
  test('of a set and its copy moved by μ is 3|μ|² in expectation over directions, and 0 of the set itself', async () => {
    const d = 12;
    const rows = await tensorOf(normalRows(1, 150, d));
    const move = Array.from({ length: d }, (_, j) => 0.4 * (j % 3) - 0.2);
    const moved = rowsInMemory(
      float32(
        rows.dims,
        rows.data.map((value, i) => value + (move[i % d] ?? 0)),
      ),
    );
    const values = await mongeInceptionDistance.compute(moved, rowsInMemory(rows), metricContext());
    const want = 3 * move.reduce((sum, value) => sum + value * value, 0);
    expect(Math.abs(namedValue(values, 'mind').value / want - 1)).toBeLessThan(DIRECTIONS_SLACK);
    const same = await mongeInceptionDistance.compute(rowsInMemory(rows), rowsInMemory(rows), metricContext());
    expect(namedValue(same, 'mind').value).toBe(0);
  });

  test('is 3d times the square of the sliced Wasserstein distance', async () => {
    const [fake, real] = [normalRows(1, 90, 7, 0.3), normalRows(2, 110, 7)];
    const mind = namedValue(await mongeInceptionDistance.compute(fake, real, metricContext()), 'mind').value;
    const sliced = namedValue(await slicedWasserstein.compute(fake, real, metricContext()), 'sliced-wasserstein').value;
    expect(mind).toBeCloseTo(21 * sliced ** 2, 12);
  });

  test('has an interval that holds most values of other draws of equal size', async () => {
    const context = metricContext({ projections: 60 });
    const at = async (k: number) =>
      namedValue(
        await mongeInceptionDistance.compute(normalRows(50 + k, 200, 6, 0.5), normalRows(90 + k, 200, 6), context),
        'mind',
      );
    const values = await Promise.all(Array.from({ length: 30 }, (_, k) => at(k)));
    const centre = values.reduce((sum, { value }) => sum + value, 0) / values.length;
    const holding = values.filter(({ low, high }) => (low ?? 0) <= centre && centre <= (high ?? 0)).length;
    // 95 % of 30 is 28.5; fewer than 24 has a probability of 1 in 10,000
    expect(holding).toBeGreaterThanOrEqual(24);
    // and it is no wider than it must be: the draws' own spread fills it
    const spread = Math.sqrt(values.reduce((sum, { value }) => sum + (value - centre) ** 2, 0) / values.length);
    const width = values.reduce((sum, { low, high }) => sum + ((high ?? 0) - (low ?? 0)) / 2, 0) / values.length;
    expect(width / spread).toBeLessThan(4);
  });
});
