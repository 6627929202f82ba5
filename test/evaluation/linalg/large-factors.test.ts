import { describe, expect, test } from 'vitest';
import { pivotedFactor } from '../../../evaluation/linalg/blocked-cholesky.js';
import { type HeldMatrix, heldMatrices } from '../../../evaluation/linalg/held-matrices.js';
import { inverseCholeskyFactor } from '../../../evaluation/linalg/inverse-cholesky.js';
import { plainProducts } from '../../../evaluation/linalg/matrix-products.js';
import { nuclearNormFrom, polarFactor } from '../../../evaluation/linalg/polar-factor.js';
import { nuclearNorm } from '../../../evaluation/linalg/singular-values.js';
import { solveTriangle } from '../../../evaluation/linalg/solve-triangle.js';
import { triangularFactor } from '../../../evaluation/linalg/triangular-factor.js';
import { withoutPause } from '../../../models/linalg/breathe.js';
import { type Matrix, multiplyTransposed, transpose, zeroMatrix } from '../../../models/linalg/matrix.js';
import { gaussianTensor } from '../../../models/tensors/random.js';

/** Products of a few hundred terms around one, some thousand of them in a row. */
const ROUNDING = 1e-11;
/** tr WᵀM against the sum of the singular values: what polar-factor.ts promises, with room for other matrices. */
const NUCLEAR_RELATIVE = 1e-12;

const held = heldMatrices(plainProducts);

/** W of M. */
async function polarOf(m: Matrix): Promise<Matrix> {
  const { matrix, scale } = await polarFactor(m, held, withoutPause);
  const w = await held.read(matrix);
  return { ...w, data: w.data.map((value) => value * scale) };
}

async function nuclearNormOf(m: Matrix): Promise<number> {
  return nuclearNormFrom(m, await polarFactor(m, held, withoutPause), held);
}

function gaussian(rows: number, cols: number, seed: number): Matrix {
  return { rows, cols, data: Float64Array.from(gaussianTensor(seed, 0, [rows, cols]).data) };
}

const magnitudes = (of: Matrix): Matrix => ({ ...of, data: of.data.map(Math.abs) });

function largestDifference(a: Matrix, b: Matrix): number {
  expect([a.rows, a.cols]).toEqual([b.rows, b.cols]);
  return a.data.reduce((worst, value, i) => Math.max(worst, Math.abs(value - (b.data[i] as number))), 0);
}

const gram = (a: Matrix): Matrix => multiplyTransposed(transpose(a), transpose(a));

function identity(n: number): Matrix {
  const result = zeroMatrix(n, n);
  for (let i = 0; i < n; i += 1) result.data[i * n + i] = 1;
  return result;
}

/** Rows of an orthonormal set: Q of a Gaussian matrix by two passes of Gram–Schmidt. */
function orthonormalRows(count: number, length: number, seed: number): Matrix {
  const q = gaussian(count, length, seed);
  for (let pass = 0; pass < 2; pass += 1) {
    for (let i = 0; i < count; i += 1) {
      const row = q.data.subarray(i * length, (i + 1) * length);
      for (let j = 0; j < i; j += 1) {
        const other = q.data.subarray(j * length, (j + 1) * length);
        const along = row.reduce((sum, value, k) => sum + value * (other[k] as number), 0);
        for (let k = 0; k < length; k += 1) row[k] = (row[k] as number) - along * (other[k] as number);
      }
      const norm = Math.sqrt(row.reduce((sum, value) => sum + value * value, 0));
      for (let k = 0; k < length; k += 1) row[k] = (row[k] as number) / norm;
    }
  }
  return q;
}

/** U·diag(values)·V, [rows, cols], with random orthonormal U and V. */
function withSingularValues(values: readonly number[], rows: number, cols: number): Matrix {
  const left = orthonormalRows(values.length, rows, 1);
  const right = orthonormalRows(values.length, cols, 2);
  for (const [i, value] of values.entries()) {
    for (let k = 0; k < rows; k += 1) left.data[i * rows + k] = (left.data[i * rows + k] as number) * value;
  }
  return multiplyTransposed(transpose(left), transpose(right));
}

describe('polarFactor', () => {
  const spectra: readonly (readonly [string, number[]])[] = [
    ['all equal', Array.from({ length: 60 }, () => 3)],
    ['condition 1e5', Array.from({ length: 60 }, (_, i) => 10 ** (-i / 12))],
    ['condition 1e20', Array.from({ length: 60 }, (_, i) => 10 ** (-i / 3))],
    ['few large, many at 1e-9', Array.from({ length: 60 }, (_, i) => (i < 4 ? 1 : 1e-9))],
    ['many below what is followed', Array.from({ length: 60 }, (_, i) => (i < 4 ? 1 : 1e-13))],
    ['half of the rank missing', Array.from({ length: 60 }, (_, i) => (i < 30 ? 1 + i : 0))],
  ];
  test.each(spectra)('gives the sum of known singular values: %s', async (_name, values) => {
    const total = values.reduce((a, b) => a + b, 0);
    for (const [rows, cols] of [
      [60, 60],
      [60, 90],
      [90, 60],
    ] as const) {
      const m = withSingularValues(values, rows, cols);
      const w = await polarOf(m);
      expect([w.rows, w.cols]).toEqual([rows, cols]);
      expect(Math.abs((await nuclearNormOf(m)) / total - 1)).toBeLessThan(NUCLEAR_RELATIVE);
    }
  });

  test('is as good with any guess of the smallest value; a good one saves steps, a wrong one is noticed', async () => {
    const stepsOf = new Map<string, number>();
    for (const [name, values] of spectra) {
      const m = withSingularValues(values, 60, 60);
      const total = values.reduce((a, b) => a + b, 0);
      for (const guess of [0, 1e-9, 1e-4, 1]) {
        let steps = 0;
        const counting = {
          ...held,
          triangularGram: (t: HeldMatrix) => held.triangularGram(t).finally(() => (steps += 1)),
        };
        const found = await nuclearNormFrom(m, await polarFactor(m, counting, withoutPause, guess), held);
        expect(Math.abs(found / total - 1)).toBeLessThan(NUCLEAR_RELATIVE);
        stepsOf.set(`${name}, ${guess}`, steps);
      }
    }
    expect(stepsOf.get('all equal, 0')).toBe(6);
    expect(stepsOf.get('all equal, 1')).toBe(4);
    expect(stepsOf.get('condition 1e20, 1')).toBeGreaterThan(6);
    expect(stepsOf.get('half of the rank missing, 1')).toBe(4);
  });

  test('agrees with one-sided Jacobi rotations', async () => {
    for (const [rows, cols] of [
      [150, 150],
      [40, 130],
    ] as const) {
      const m = gaussian(rows, cols, 9);
      expect(Math.abs((await nuclearNormOf(m)) / nuclearNorm(m) - 1)).toBeLessThan(NUCLEAR_RELATIVE);
    }
  });

  test('has orthonormal columns and a symmetric WᵀM', async () => {
    const m = gaussian(80, 50, 4);
    const w = await polarOf(m);
    expect(largestDifference(gram(w), identity(50))).toBeLessThan(ROUNDING);
    const h = multiplyTransposed(transpose(w), transpose(m));
    expect(largestDifference(h, transpose(h))).toBeLessThan(ROUNDING * 10);
  });

  test('of size does not matter; zero gives zero; what is not finite is refused', async () => {
    const m = gaussian(20, 20, 5);
    const tiny = { ...m, data: m.data.map((value) => value * 1e-30) };
    const w = await polarOf(m);
    expect(largestDifference(w, await polarOf(tiny))).toBeLessThan(ROUNDING);
    expect(await nuclearNormOf(zeroMatrix(20, 20))).toBe(0);
    const broken = { ...m, data: Float64Array.from(m.data).fill(Number.NaN, 3, 4) };
    await expect(polarOf(broken)).rejects.toThrow(/not finite/);
  });
});

describe('inverse factors', () => {
  test.each([1, 5, 127, 300])('of a positive definite %i × %i matrix turn it into the identity', async (n) => {
    const half = gaussian(n, n + 20, 3);
    const a = multiplyTransposed(half, half);
    for (let i = 0; i < n; i += 1) a.data[i * n + i] = (a.data[i * n + i] as number) + n;
    const inverse = await held.read(await inverseCholeskyFactor(a, held, withoutPause));
    const turned = multiplyTransposed(multiplyTransposed(inverse, a), inverse);
    expect(largestDifference(turned, identity(n))).toBeLessThan(ROUNDING);
    const x = gaussian(7, n, 4);
    const q = transpose(await held.read(await solveTriangle(transpose(inverse), x, held, withoutPause)));
    expect([q.rows, q.cols]).toEqual([7, n]);
    const sizes = multiplyTransposed(magnitudes(q), magnitudes(inverse));
    expect(largestDifference(multiplyTransposed(q, inverse), x)).toBeLessThan(ROUNDING * Math.max(...sizes.data));
  });

  test('of an indefinite matrix are refused', async () => {
    const a = { rows: 2, cols: 2, data: Float64Array.of(1, 2, 2, 1) };
    await expect(inverseCholeskyFactor(a, held, withoutPause)).rejects.toThrow(/positive definite/);
  });
});

describe('pivotedFactor', () => {
  test.each([
    [300, 150],
    [90, 150],
    [5, 9],
  ])('of the scatter of %i rows in %i dimensions keeps it and finds its rank', async (rows, cols) => {
    const s = gram(gaussian(rows, cols, 2));
    const { factor, pivots } = await pivotedFactor(s, held, withoutPause);
    expect(factor.rows).toBe(Math.min(rows, cols));
    expect(largestDifference(gram(factor), s)).toBeLessThan(ROUNDING * rows);
    for (let k = 0; k < factor.rows; k += 1) {
      for (let j = 0; j < k; j += 1) expect(factor.data[k * cols + (pivots[j] as number)]).toBe(0);
    }
  });

  test('leaves features without variance out, and a zero matrix has no rows', async () => {
    const rows = gaussian(40, 10, 6);
    for (let i = 0; i < 40; i += 1) rows.data[i * 10 + 3] = 0;
    const { factor } = await pivotedFactor(gram(rows), held, withoutPause);
    expect(factor.rows).toBe(9);
    expect((await pivotedFactor(zeroMatrix(4, 4), held, withoutPause)).factor.rows).toBe(0);
  });

  test('has the singular values of the triangular factor that never squared anything', async () => {
    const rows = gaussian(400, 100, 8);
    const { factor } = await pivotedFactor(gram(rows), held, withoutPause);
    expect(Math.abs(nuclearNorm(factor) / nuclearNorm(triangularFactor(rows)) - 1)).toBeLessThan(NUCLEAR_RELATIVE);
  });

  test('of an indefinite matrix is refused', async () => {
    const s = { rows: 2, cols: 2, data: Float64Array.of(1, 2, 2, 1) };
    await expect(pivotedFactor(s, held, withoutPause)).rejects.toThrow(/semi-definite/);
  });
});
