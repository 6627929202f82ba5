import { describe, expect, test } from 'vitest';
import { plainProducts } from '../../../evaluation/linalg/matrix-products.js';
import { permutationTest } from '../../../evaluation/statistics/permutation-test.js';
import { type Matrix, zeroMatrix } from '../../../models/linalg/matrix.js';
import { gaussianTensor, permutation } from '../../../models/tensors/random.js';

/** Largest distance of the p-values' distribution from the uniform one over 100 tests: exceeded once in 100,000 (Kolmogorov). */
const KOLMOGOROV = 2.47 / Math.sqrt(100);

/** (x·y/d + 1)³ of all rows [n, d]. */
function cubicKernel(rows: ArrayLike<number>, d: number): Matrix {
  const n = rows.length / d;
  const kernel = zeroMatrix(n, n);
  for (let i = 0; i < n; i += 1) {
    for (let j = 0; j < n; j += 1) {
      let product = 0;
      for (let k = 0; k < d; k += 1) product += (rows[i * d + k] ?? 0) * (rows[j * d + k] ?? 0);
      kernel.data[i * n + j] = (product / d + 1) ** 3;
    }
  }
  return kernel;
}

const D = 4;

function twoSets(seed: number, n: number, m: number, shift: number): Matrix {
  const { data } = gaussianTensor(seed, 0, [n + m, D]);
  return cubicKernel(
    data.map((value, i) => (i < n * D ? value + shift : value)),
    D,
  );
}

/** Rows and the same rows a little off, second set in another order; `toward` moves all of them one way. */
function pairs(seed: number, n: number, noise: number, toward: number): { kernel: Matrix; partners: Uint32Array } {
  const base = gaussianTensor(seed, 0, [n, D]).data;
  const off = gaussianTensor(seed, 1, [n, D]).data;
  const places = permutation(seed, 2, n);
  const rows = new Float64Array(2 * n * D);
  rows.set(base);
  for (let i = 0; i < n; i += 1) {
    for (let k = 0; k < D; k += 1) {
      rows[(n + (places[i] ?? 0)) * D + k] = (base[i * D + k] ?? 0) + noise * (off[i * D + k] ?? 0) + toward;
    }
  }
  return { kernel: cubicKernel(rows, D), partners: places };
}

function distanceFromUniform(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted.reduce(
    (largest, value, i) =>
      Math.max(largest, Math.abs(value - i / values.length), Math.abs(value - (i + 1) / values.length)),
    0,
  );
}

describe('the permutation test', () => {
  const options = { seed: 7, permutations: 99, products: plainProducts };

  test('gives the MMD² of its definition', async () => {
    const kernel = twoSets(1, 6, 4, 0.5);
    const mean = (from: readonly number[], to: readonly number[], skipSame: boolean) => {
      const values = from.flatMap((i) =>
        to.filter((j) => !skipSame || i !== j).map((j) => kernel.data[i * 10 + j] ?? 0),
      );
      return values.reduce((a, b) => a + b, 0) / values.length;
    };
    const [left, right] = [
      [0, 1, 2, 3, 4, 5],
      [6, 7, 8, 9],
    ] as const;
    const { statistic } = await permutationTest(kernel, 6, options);
    expect(statistic).toBeCloseTo(mean(left, left, true) + mean(right, right, true) - 2 * mean(left, right, false), 12);
  });

  test('is uniform when both sets come from one distribution', async () => {
    const values: number[] = [];
    for (let seed = 0; seed < 100; seed += 1) {
      values.push((await permutationTest(twoSets(seed, 20, 30, 0), 20, { ...options, seed })).pValue);
    }
    expect(distanceFromUniform(values)).toBeLessThan(KOLMOGOROV);
  });

  test('is small under a shift, and never below 1 / (1 + permutations)', async () => {
    const { pValue } = await permutationTest(twoSets(3, 40, 40, 1), 40, options);
    expect(pValue).toBe(1 / 100);
  });

  test('swaps partners of equal seeds: uniform without a difference, small for one that shuffling all rows cannot see', async () => {
    const values: number[] = [];
    for (let seed = 0; seed < 100; seed += 1) {
      const { kernel, partners } = pairs(seed, 20, 0.3, 0);
      // equal in distribution: each of the two is as likely to be the noisy one
      const swapped = swapHalf(kernel, partners, seed);
      values.push((await permutationTest(swapped, 20, { ...options, seed, partners })).pValue);
    }
    expect(distanceFromUniform(values)).toBeLessThan(KOLMOGOROV);
    const { kernel, partners } = pairs(5, 40, 0.05, 0.1);
    expect((await permutationTest(kernel, 40, { ...options, partners })).pValue).toBeLessThan(0.02);
    expect((await permutationTest(kernel, 40, options)).pValue).toBeGreaterThan(0.5);
  });

  test('says 1 of a set and itself', async () => {
    const rows = gaussianTensor(1, 0, [10, D]).data;
    const kernel = cubicKernel([...rows, ...rows], D);
    expect((await permutationTest(kernel, 10, options)).pValue).toBe(1);
  });

  test('depends on the seed alone', async () => {
    const kernel = twoSets(1, 15, 15, 0.2);
    const { pValue } = await permutationTest(kernel, 15, options);
    expect((await permutationTest(kernel, 15, options)).pValue).toBe(pValue);
    expect((await permutationTest(kernel, 15, { ...options, seed: 8, permutations: 998 })).pValue).not.toBe(pValue);
  });

  test('refuses single rows', async () => {
    await expect(permutationTest(zeroMatrix(4, 4), 1, options)).rejects.toThrow(/two rows/);
  });
});

/** Exchanges each pair's two rows by a coin. */
function swapHalf(kernel: Matrix, partners: Uint32Array, seed: number): Matrix {
  const n = partners.length;
  const place = Uint32Array.from({ length: 2 * n }, (_, i) => i);
  const coins = permutation(seed, 9, n);
  for (let i = 0; i < n; i += 1) {
    if ((coins[i] ?? 0) % 2 === 0) continue;
    place[i] = n + (partners[i] ?? 0);
    place[n + (partners[i] ?? 0)] = i;
  }
  const result = zeroMatrix(2 * n, 2 * n);
  for (let i = 0; i < 2 * n; i += 1) {
    for (let j = 0; j < 2 * n; j += 1) {
      result.data[i * 2 * n + j] = kernel.data[(place[i] ?? 0) * 2 * n + (place[j] ?? 0)] ?? 0;
    }
  }
  return result;
}
