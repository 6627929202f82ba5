import { describe, expect, test } from 'vitest';
import { semidefiniteFactor } from '../../../evaluation/linalg/pivoted-cholesky.js';
import { nuclearNorm, singularValues } from '../../../evaluation/linalg/singular-values.js';
import { triangularFactor } from '../../../evaluation/linalg/triangular-factor.js';
import { type Matrix, multiplyTransposed, transpose, zeroMatrix } from '../../../models/linalg/matrix.js';
import { gaussianTensor } from '../../../models/tensors/random.js';

/** Sums of some hundred float64 products of numbers around one. */
const ROUNDING = 1e-12;

function gaussian(rows: number, cols: number, seed: number): Matrix {
  return { rows, cols, data: Float64Array.from(gaussianTensor(seed, 0, [rows, cols]).data) };
}

function expectClose(actual: Matrix, expected: Matrix, tolerance: number): void {
  expect([actual.rows, actual.cols]).toEqual([expected.rows, expected.cols]);
  for (const [i, value] of expected.data.entries())
    expect(Math.abs((actual.data[i] ?? Number.NaN) - value)).toBeLessThan(tolerance);
}

/** AᵀA. */
function gram(a: Matrix): Matrix {
  return multiplyTransposed(transpose(a), transpose(a));
}

describe('singularValues', () => {
  test('of a diagonal matrix are the absolute diagonal, largest first', () => {
    const matrix = zeroMatrix(3, 3);
    matrix.data.set([2, 0, 0, 0, -5, 0, 0, 0, 1e-9]);
    const values = singularValues(matrix);
    expect(values[0]).toBeCloseTo(5, 14);
    expect(values[1]).toBeCloseTo(2, 14);
    expect(Math.abs((values[2] ?? 0) / 1e-9 - 1)).toBeLessThan(ROUNDING);
  });

  test('of [[1, 2], [3, 4]] are the closed form', () => {
    const values = singularValues({ rows: 2, cols: 2, data: Float64Array.of(1, 2, 3, 4) });
    expect(values[0]).toBeCloseTo(Math.sqrt(15 + Math.sqrt(221)), 13);
    expect(values[1]).toBeCloseTo(Math.sqrt(15 - Math.sqrt(221)), 13);
  });

  test.each([
    [40, 17],
    [17, 40],
    [30, 30],
  ])('of a %i × %i matrix keep its energy, determinant and transpose', (rows, cols) => {
    const matrix = gaussian(rows, cols, 3);
    const values = singularValues(matrix);
    const energy = values.reduce((sum, value) => sum + value * value, 0);
    expect(energy / matrix.data.reduce((sum, value) => sum + value * value, 0)).toBeCloseTo(1, 12);
    expect(nuclearNorm(matrix)).toBeCloseTo(nuclearNorm(transpose(matrix)), 10);
    expect(values.length).toBe(Math.min(rows, cols));
  });

  test('converge on a rank-deficient matrix, with the missing ranks at rounding', () => {
    const values = singularValues(multiplyTransposed(gaussian(30, 4, 5), gaussian(30, 4, 6)));
    expect(values[3]).toBeGreaterThan(1);
    expect(values[4]).toBeLessThan(ROUNDING * (values[0] ?? 0));
    expect(singularValues(zeroMatrix(5, 3))).toEqual(new Float64Array(3));
  });
});

describe('factors', () => {
  test.each([
    [50, 12],
    [12, 50],
  ])('a triangular factor of a %i × %i matrix keeps AᵀA', (rows, cols) => {
    const matrix = gaussian(rows, cols, 8);
    expectClose(gram(triangularFactor(matrix)), gram(matrix), 1e-11);
  });

  test('a semidefinite factor keeps S and finds its rank', () => {
    const s = gram(gaussian(5, 9, 2));
    const factor = semidefiniteFactor(s);
    expect(factor.rows).toBe(5);
    expectClose(gram(factor), s, 1e-11);
  });

  test('an indefinite matrix is refused', () => {
    expect(() => semidefiniteFactor({ rows: 2, cols: 2, data: Float64Array.of(1, 2, 2, 1) })).toThrow(/semi-definite/);
  });
});
