import { describe, expect, test } from 'vitest';
import { GaussianMoments } from '../../../evaluation/statistics/gaussian-moments.js';
import { float32, sliceRows } from '../../../models/tensors/tensor.js';
import { goldenFloat32, goldenNpy } from '../golden.js';

/** numpy sums in another order: some hundred float64 additions. */
const RELATIVE = 1e-12;

function expectNear(actual: ArrayLike<number>, expected: ArrayLike<number>, relative: number): void {
  const scale = Array.from(expected, Math.abs).reduce((a, b) => Math.max(a, b), 0);
  expect(actual.length).toBe(expected.length);
  for (let i = 0; i < expected.length; i += 1) {
    expect(Math.abs((actual[i] ?? Number.NaN) - (expected[i] ?? 0))).toBeLessThanOrEqual(relative * scale);
  }
}

describe('GaussianMoments', () => {
  test.each([
    ['unequal_n', 'real'],
    ['unequal_n', 'fake'],
    ['offset_mean', 'real'],
  ])('of %s %s equal numpy mean and cov', (name, side) => {
    const moments = GaussianMoments.of(goldenFloat32(`metrics/features/${name}/${side}.npy`));
    expectNear(moments.mean(), goldenNpy(`metrics/features/${name}/${side}_mean.npy`).data as Float64Array, RELATIVE);
    expectNear(
      moments.covariance().data,
      goldenNpy(`metrics/features/${name}/${side}_cov.npy`).data as Float64Array,
      RELATIVE,
    );
  });

  test('do not depend on batches, shards or their order, also far from zero', () => {
    const features = goldenFloat32('metrics/features/offset_mean/real.npy');
    const whole = GaussianMoments.of(features);
    const [n = 0, d = 0] = features.dims;
    const shards = [0, 1, 2].map(() => new GaussianMoments(d));
    for (let start = 0; start < n; start += 7) {
      shards[start % 3]?.add(sliceRows(features, start, Math.min(n, start + 7)));
    }
    const merged = new GaussianMoments(d);
    for (const shard of shards.reverse()) merged.merge(shard);
    expect(merged.count).toBe(n);
    expectNear(merged.mean(), whole.mean(), RELATIVE);
    expectNear(merged.covariance().data, whole.covariance().data, RELATIVE);
  });

  test('divide by n − 1 and refuse a covariance of one row', () => {
    const moments = GaussianMoments.of(float32([2, 1], [1, 4]));
    expect(moments.covariance().data[0]).toBe(4.5);
    expect(() => GaussianMoments.of(float32([1, 2], [1, 2])).covariance()).toThrow(/two rows/);
    expect(() => moments.add(float32([1, 2], [1, 2]))).toThrow(/\[n, 1\]/);
  });
});
