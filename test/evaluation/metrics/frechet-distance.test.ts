import { describe, expect, test } from 'vitest';
import { frechetDistance, frechetDistanceOfMoments } from '../../../evaluation/metrics/frechet-distance.js';
import { frechetLabel, frechetName } from '../../../evaluation/metrics/frechet-name.js';
import { GaussianMoments } from '../../../evaluation/statistics/gaussian-moments.js';
import { gaussianTensor, permutation } from '../../../models/tensors/random.js';
import { type Float32Tensor, float32 } from '../../../models/tensors/tensor.js';
import { goldenFloat32, goldenJson } from '../golden.js';

interface Expected {
  readonly frechet_distance: { readonly exact_nuclear_norm: number; readonly mean_term: number };
}

const CASES = [
  'duplicates',
  'full_rank',
  'heavy_tail',
  'identical',
  'n_lt_d',
  'near_identical',
  'offset_mean',
  'unequal_n',
];

/** The golden set's own tolerance: the libraries it was made with agree this far. */
const GOLDEN_RELATIVE = 1e-6;
const GOLDEN_ABSOLUTE = 1e-7;

/** Rows in another order change sums at float64 rounding only. */
const ORDER_RELATIVE = 1e-10;

function load(name: string): { real: Float32Tensor; fake: Float32Tensor; expected: Expected } {
  const folder = `metrics/features/${name}`;
  return {
    real: goldenFloat32(`${folder}/real.npy`),
    fake: goldenFloat32(`${folder}/fake.npy`),
    expected: goldenJson<Expected>(`${folder}/expected.json`),
  };
}

function permuted(features: Float32Tensor, seed: number): Float32Tensor {
  const [n = 0, d = 0] = features.dims;
  const data = new Float32Array(n * d);
  for (const [to, from] of permutation(seed, 0, n).entries())
    data.set(features.data.subarray(from * d, (from + 1) * d), to * d);
  return float32([n, d], data);
}

describe('frechetDistance', () => {
  test.each(CASES)('of the golden case %s is the reference value', (name) => {
    const { real, fake, expected } = load(name);
    const { value, meanTerm } = frechetDistance(real, fake);
    const want = expected.frechet_distance;
    expect(Math.abs(value - want.exact_nuclear_norm)).toBeLessThanOrEqual(
      GOLDEN_RELATIVE * want.exact_nuclear_norm + GOLDEN_ABSOLUTE,
    );
    expect(Math.abs(meanTerm - want.mean_term)).toBeLessThanOrEqual(GOLDEN_RELATIVE * want.mean_term + GOLDEN_ABSOLUTE);
  });

  test('near zero it still resolves millionths', () => {
    const { real, fake, expected } = load('near_identical');
    const want = expected.frechet_distance.exact_nuclear_norm;
    expect(Math.abs(frechetDistance(real, fake).value / want - 1)).toBeLessThan(1e-5);
  });

  test('of a set with itself is shown as exactly zero, also with fewer rows than features', () => {
    for (const name of ['identical', 'n_lt_d', 'heavy_tail']) {
      const { real } = load(name);
      const { value, raw } = frechetDistance(real, permuted(real, 3));
      expect(value).toBe(0);
      expect(Math.abs(raw)).toBeLessThan(1e-6);
    }
  });

  test.each(CASES)('does not depend on the order of rows or of the two sets: %s', (name) => {
    const { real, fake } = load(name);
    const forward = frechetDistance(real, fake);
    const scale = 1 + Math.abs(forward.raw);
    expect(Math.abs(frechetDistance(permuted(real, 1), permuted(fake, 2)).raw - forward.raw)).toBeLessThan(
      ORDER_RELATIVE * scale * 100,
    );
    expect(Math.abs(frechetDistance(fake, real).raw - forward.raw)).toBeLessThan(ORDER_RELATIVE * scale * 100);
  });

  test('of diagonal covariances is the closed form Σ(Δμ)² + Σ(σ₁ − σ₂)²', () => {
    // rows ±a on each axis: mean zero, no correlation, variance 2a²/(2d − 1)
    const cross = (spreads: readonly number[], shift: readonly number[]) => {
      const d = spreads.length;
      const rows = spreads.flatMap((a, axis) =>
        [1, -1].map((sign) => shift.map((s, j) => s + (j === axis ? sign * a : 0))),
      );
      return float32([2 * d, d], rows.flat());
    };
    const a = [1, 2, 4, 0.5];
    const b = [2, 2, 1, 3];
    const shift = [0.5, 0, -1, 2];
    const sigma = (spread: number) => spread * Math.sqrt(2 / 7);
    const expected =
      shift.reduce((sum, s) => sum + s * s, 0) +
      a.reduce((sum, spread, i) => sum + (sigma(spread) - sigma(b[i] ?? 0)) ** 2, 0);
    const left = cross(a, [0, 0, 0, 0]);
    const right = cross(b, shift);
    expect(frechetDistance(left, right).value).toBeCloseTo(expected, 12);
    expect(frechetDistanceOfMoments(GaussianMoments.of(left), GaussianMoments.of(right)).value).toBeCloseTo(
      expected,
      12,
    );
  });

  test('moments and features agree where the covariance has full rank', () => {
    for (const name of ['full_rank', 'unequal_n', 'offset_mean']) {
      const { real, fake } = load(name);
      const fromMoments = frechetDistanceOfMoments(GaussianMoments.of(real), GaussianMoments.of(fake));
      expect(Math.abs(fromMoments.raw / frechetDistance(real, fake).raw - 1)).toBeLessThan(1e-9);
      expect(fromMoments.n).toEqual([real.dims[0], fake.dims[0]]);
    }
  });

  test('shrinks as samples grow: the number of samples belongs to the name', () => {
    const at = (n: number) => frechetDistance(gaussianTensor(1, 0, [n, 16]), gaussianTensor(2, 0, [n, 16])).value;
    expect(at(40)).toBeGreaterThan(3 * at(400));
  });

  test('refuses one row, other dimensions and numbers that are not finite', () => {
    const two = float32([2, 2], [0, 1, 2, 3]);
    expect(() => frechetDistance(float32([1, 2], [0, 1]), two)).toThrow(/n ≥ 2/);
    expect(() => frechetDistance(float32([2, 1], [0, 1]), two)).toThrow(/differ in size/);
    expect(() => frechetDistance(float32([2, 2], [0, 1, 2, Number.NaN]), two)).toThrow(/not finite/);
  });
});

describe('names', () => {
  test('say the extractor, its digest and the number of pictures, and never FID', () => {
    const name = frechetName('cifar10-resnet', 'ab12cd34'.repeat(8));
    expect(name).toBe('frechet[cifar10-resnet@ab12cd34]');
    expect(frechetLabel(name, 64)).toBe('frechet[cifar10-resnet@ab12cd34] n=64');
    expect(frechetLabel(name, 64, 1640)).toBe('frechet[cifar10-resnet@ab12cd34] n=64 vs 1640');
    expect(() => frechetName('x', 'nonsense')).toThrow();
  });
});
