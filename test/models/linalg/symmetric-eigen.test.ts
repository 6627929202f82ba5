import { describe, expect, test } from 'vitest';
import { dot, type Matrix, matrixRow, zeroMatrix } from '../../../models/linalg/matrix.js';
import { symmetricEigen } from '../../../models/linalg/symmetric-eigen.js';
import { gaussianTensor } from '../../../models/tensors/random.js';

/** Rounding of ≈ n² rotations in float64 relative to the norm: n · 2⁻⁵² with room for n = 60. */
const TOLERANCE = 1e-12;

function randomSymmetric(n: number): Matrix {
  const source = gaussianTensor(5, n, [n, n]).data;
  const matrix = zeroMatrix(n, n);
  for (let i = 0; i < n; i += 1) {
    for (let j = 0; j < n; j += 1) {
      matrix.data[i * n + j] = (source[i * n + j] as number) + (source[j * n + i] as number);
    }
  }
  return matrix;
}

function times(matrix: Matrix, x: Float64Array): Float64Array {
  return Float64Array.from({ length: matrix.rows }, (_, i) => dot(matrixRow(matrix, i), x));
}

describe('eigenvalues and eigenvectors', () => {
  test.each([1, 2, 3, 17, 60])('A v = λ v with orthonormal v and falling λ, for n = %i', async (n) => {
    const matrix = randomSymmetric(n);
    const norm = Math.sqrt(dot(matrix.data, matrix.data));
    const { values, vectors } = await symmetricEigen(matrix);
    let worst = 0;
    for (let i = 0; i < n; i += 1) {
      const v = matrixRow(vectors, i);
      const image = times(matrix, v);
      image.forEach((value, j) => {
        worst = Math.max(worst, Math.abs(value - (values[i] as number) * (v[j] as number)) / norm);
      });
      for (let j = 0; j <= i; j += 1) {
        worst = Math.max(worst, Math.abs(dot(v, matrixRow(vectors, j)) - (i === j ? 1 : 0)));
      }
      if (i > 0) expect(values[i]).toBeLessThanOrEqual(values[i - 1] as number);
    }
    expect(worst).toBeLessThan(TOLERANCE);
  });

  test('a matrix whose spectrum is known: 2 on the diagonal, −1 beside it', async () => {
    const n = 25;
    const matrix = zeroMatrix(n, n);
    for (let i = 0; i < n; i += 1) {
      matrix.data[i * n + i] = 2;
      if (i > 0) matrix.data[i * n + i - 1] = -1;
    }
    const { values } = await symmetricEigen(matrix);
    const expected = Array.from({ length: n }, (_, k) => 2 - 2 * Math.cos(((n - k) * Math.PI) / (n + 1)));
    expected.forEach((value, i) => {
      expect(Math.abs(value - (values[i] as number))).toBeLessThan(TOLERANCE);
    });
  });

  test('equal eigenvalues, zero matrices and rank one', async () => {
    expect([...(await symmetricEigen(zeroMatrix(4, 4))).values]).toEqual([0, 0, 0, 0]);
    const outer = zeroMatrix(6, 6);
    for (let i = 0; i < 6; i += 1) for (let j = 0; j < 6; j += 1) outer.data[i * 6 + j] = (i + 1) * (j + 1);
    const { values, vectors } = await symmetricEigen(outer);
    expect(Math.abs((values[0] as number) - 91)).toBeLessThan(91 * TOLERANCE);
    expect(Math.max(...Array.from(values.subarray(1), Math.abs))).toBeLessThan(91 * TOLERANCE);
    expect((vectors.data[5] as number) / (vectors.data[0] as number)).toBeCloseTo(6, 10);
  });

  test('what is not square or not finite is refused', async () => {
    await expect(symmetricEigen(zeroMatrix(2, 3))).rejects.toThrow(RangeError);
    const broken = zeroMatrix(2, 2);
    broken.data[0] = Number.NaN;
    await expect(symmetricEigen(broken)).rejects.toThrow(RangeError);
  });
});
