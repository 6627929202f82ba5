import { describe, expect, test } from 'vitest';
import { type FeatureRows, rowsInMemory } from '../../../evaluation/features/feature-set.js';
import { plainProducts } from '../../../evaluation/linalg/matrix-products.js';
import { GaussianMoments } from '../../../evaluation/statistics/gaussian-moments.js';
import { BATCH_ROWS, gaussianMomentsOf } from '../../../evaluation/statistics/gaussian-moments-of.js';
import { withoutPause } from '../../../models/linalg/breathe.js';
import { gaussianTensor } from '../../../models/tensors/random.js';
import { type Float32Tensor, float32 } from '../../../models/tensors/tensor.js';
import { goldenFloat32, goldenNpy } from '../golden.js';

/** numpy, and rows added one by one, sum in another order: some thousand float64 additions. */
const RELATIVE = 1e-12;

const momentsOf = (rows: FeatureRows): Promise<GaussianMoments> => gaussianMomentsOf(rows, plainProducts, withoutPause);

function largestRelative(actual: Float64Array, expected: Float64Array): number {
  const scale = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  return expected.reduce((worst, value, i) => Math.max(worst, Math.abs(value - (actual[i] as number)) / scale), 0);
}

function sameBits(a: Float64Array, b: Float64Array): boolean {
  const bytes = (of: Float64Array): Uint8Array => new Uint8Array(of.buffer, of.byteOffset, of.byteLength);
  return Buffer.compare(bytes(a), bytes(b)) === 0;
}

/** Rows that lie in pieces of these sizes, as shards of a run would. */
function sharded({ dims, data }: Float32Tensor, size: number): FeatureRows & { readonly reads: number[] } {
  const [n = 0, d = 0] = dims;
  const shards = Array.from({ length: Math.ceil(n / size) }, (_, i) => data.slice(i * size * d, (i + 1) * size * d));
  const reads: number[] = [];
  return {
    n,
    d,
    reads,
    read: async (first, end) => {
      reads.push(end - first);
      const result = new Float32Array((end - first) * d);
      for (let row = first; row < end; row += 1) {
        const shard = shards[Math.floor(row / size)] as Float32Array;
        result.set(shard.subarray((row % size) * d, ((row % size) + 1) * d), (row - first) * d);
      }
      return result;
    },
  };
}

describe('gaussianMomentsOf', () => {
  test.each([
    ['unequal_n', 'real'],
    ['unequal_n', 'fake'],
    ['offset_mean', 'real'],
  ])('of %s %s equals numpy mean and cov', async (name, side) => {
    const moments = await momentsOf(rowsInMemory(goldenFloat32(`metrics/features/${name}/${side}.npy`)));
    const golden = (what: string) => goldenNpy(`metrics/features/${name}/${side}_${what}.npy`).data as Float64Array;
    expect(largestRelative(moments.mean(), golden('mean'))).toBeLessThan(RELATIVE);
    expect(largestRelative(moments.covariance().data, golden('cov'))).toBeLessThan(RELATIVE);
  });

  test('of 5000 rows far from zero equals sums over all rows', async () => {
    const { data } = gaussianTensor(3, 0, [5000, 6]);
    const far = float32(
      [5000, 6],
      data.map((value, i) => value + 1000 * (i % 6)),
    );
    const moments = await momentsOf(rowsInMemory(far));
    const whole = GaussianMoments.of(far);
    expect(moments.count).toBe(5000);
    expect(largestRelative(moments.mean(), whole.mean())).toBeLessThan(RELATIVE);
    expect(largestRelative(moments.covariance().data, whole.covariance().data)).toBeLessThan(RELATIVE);
  });

  test('does not depend on how rows are sharded, to the bit, and never reads more than a batch', async () => {
    const features = gaussianTensor(4, 0, [2 * BATCH_ROWS + 77, 5]);
    const whole = await momentsOf(rowsInMemory(features));
    for (const size of [1, 100, 1999, BATCH_ROWS, 10_000]) {
      const rows = sharded(features, size);
      const moments = await momentsOf(rows);
      expect(sameBits(moments.mean(), whole.mean())).toBe(true);
      expect(sameBits(moments.covariance().data, whole.covariance().data)).toBe(true);
      expect(rows.reads).toEqual([BATCH_ROWS, BATCH_ROWS, 77]);
    }
  });

  test('names the row and the feature that is not finite', async () => {
    const features = gaussianTensor(5, 0, [BATCH_ROWS + 9, 3]);
    features.data[(BATCH_ROWS + 4) * 3 + 2] = Number.NaN;
    await expect(momentsOf(rowsInMemory(features))).rejects.toThrow(`NaN in row ${BATCH_ROWS + 4}, feature 2`);
  });
});
