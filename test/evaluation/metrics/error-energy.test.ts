import { describe, expect, test } from 'vitest';
import { ErrorEnergy } from '../../../evaluation/metrics/error-energy.js';
import { latentSqnrDb, SQNR_CAP_DB, sqnrDbOf } from '../../../evaluation/metrics/latent-sqnr.js';
import { relativeMse, relativeMseOf } from '../../../evaluation/metrics/relative-mse.js';
import { gaussianTensor } from '../../../models/tensors/random.js';
import { float32, sliceRows } from '../../../models/tensors/tensor.js';

describe('latent SQNR and relative MSE', () => {
  test('are the closed form of a known error', () => {
    const x = float32([4], [1, -2, 3, -4]);
    const y = float32([4], [1.5, -2, 2, -4]);
    expect(relativeMse(x, y)).toBeCloseTo(1.25 / 30, 14);
    expect(latentSqnrDb(x, y)).toBeCloseTo(10 * Math.log10(30 / 1.25), 12);
  });

  test('a tenth of the signal as noise is 10 dB', () => {
    const x = gaussianTensor(1, 0, [8, 50]);
    const y = float32(
      x.dims,
      x.data.map((value) => value * (1 - Math.sqrt(0.1))),
    );
    // float32 rounding of the candidate
    expect(latentSqnrDb(x, y)).toBeCloseTo(10, 5);
  });

  test('batches merge to the whole', () => {
    const x = gaussianTensor(1, 0, [9, 30]);
    const y = gaussianTensor(2, 0, [9, 30]);
    const first = new ErrorEnergy().add(sliceRows(x, 0, 5), sliceRows(y, 0, 5));
    const merged = new ErrorEnergy().add(sliceRows(x, 5, 9), sliceRows(y, 5, 9)).merge(first);
    expect(relativeMseOf(merged)).toBeCloseTo(relativeMse(x, y), 12);
    expect(sqnrDbOf(merged)).toBeCloseTo(latentSqnrDb(x, y), 10);
  });

  test('identical tensors give zero error and the cap; noise on a zero signal is infinite', () => {
    const x = gaussianTensor(1, 0, [10]);
    expect(relativeMse(x, x)).toBe(0);
    expect(latentSqnrDb(x, x)).toBe(SQNR_CAP_DB);
    expect(relativeMse(float32([1], [0]), float32([1], [1]))).toBe(Number.POSITIVE_INFINITY);
    expect(() => relativeMse(x, float32([1], [1]))).toThrow(/shapes differ/);
  });
});
