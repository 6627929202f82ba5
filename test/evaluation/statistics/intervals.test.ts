import { describe, expect, test } from 'vitest';
import { bootstrapInterval } from '../../../evaluation/statistics/bootstrap.js';
import { meanInterval, pairedInterval } from '../../../evaluation/statistics/paired-interval.js';
import { quantile } from '../../../evaluation/statistics/quantile.js';
import { studentTQuantile } from '../../../evaluation/statistics/student-t.js';
import { gaussianTensor } from '../../../models/tensors/random.js';

describe('studentTQuantile', () => {
  test.each([
    [0.975, 1, 12.7062047362],
    [0.975, 2, 4.3026527297],
    [0.975, 9, 2.2621571628],
    [0.975, 63, 1.9983405425],
    [0.995, 255, 2.5951],
    [0.025, 9, -2.2621571628],
  ])('of %d with %i degrees is the tabulated %d', (probability, degrees, expected) => {
    expect(studentTQuantile(probability, degrees)).toBeCloseTo(expected, degrees === 255 ? 3 : 8);
  });

  test('closed forms hold for one and two degrees of freedom, and the normal limit', () => {
    for (const p of [0.6, 0.9, 0.99, 0.9995]) {
      expect(studentTQuantile(p, 1) / Math.tan(Math.PI * (p - 0.5))).toBeCloseTo(1, 10);
      expect(studentTQuantile(p, 2) / ((2 * p - 1) / Math.sqrt(2 * p * (1 - p)))).toBeCloseTo(1, 10);
    }
    expect(studentTQuantile(0.975, 1e6)).toBeCloseTo(1.959966, 5);
  });
});

describe('intervals of a mean', () => {
  test('a textbook sample gives the textbook interval', () => {
    const { mean, low, high, deviation } = meanInterval([1, 2, 3, 4, 5]);
    expect(mean).toBe(3);
    expect(deviation).toBeCloseTo(Math.sqrt(2.5), 12);
    const half = (2.7764451052 * Math.sqrt(2.5)) / Math.sqrt(5);
    expect(low).toBeCloseTo(3 - half, 8);
    expect(high).toBeCloseTo(3 + half, 8);
  });

  test('pairing takes the common spread out', () => {
    const noise = gaussianTensor(5, 0, [64]).data;
    const before = Array.from(noise, (value) => 20 + 3 * value);
    const after = before.map((value, i) => value + 1 + 0.1 * Math.sin(i));
    const paired = pairedInterval(before, after);
    expect(paired.mean).toBeGreaterThan(0.9);
    expect(paired.low).toBeGreaterThan(0.9);
    expect(meanInterval(before).high - meanInterval(before).low).toBeGreaterThan(10 * (paired.high - paired.low));
    expect(() => pairedInterval([1], [1, 2])).toThrow(/pairs/);
  });

  test('the interval covers the true mean in about 95 % of samples', () => {
    let covered = 0;
    for (let trial = 0; trial < 2000; trial += 1) {
      const { low, high } = meanInterval(gaussianTensor(9, trial, [10]).data);
      if (low <= 0 && high >= 0) covered += 1;
    }
    // ±4 standard deviations of a binomial with p = 0.95 and 2000 trials
    expect(covered / 2000).toBeGreaterThan(0.93);
    expect(covered / 2000).toBeLessThan(0.97);
  });
});

describe('bootstrap and quantile', () => {
  test('the bootstrap interval of a mean agrees with Student’s t and repeats with its seed', () => {
    const values = gaussianTensor(4, 0, [200]).data;
    const mean = (indices: Uint32Array) => indices.reduce((sum, i) => sum + (values[i] ?? 0), 0) / indices.length;
    const first = bootstrapInterval(200, mean, { seed: 1 });
    const student = meanInterval(values);
    expect(first).toEqual(bootstrapInterval(200, mean, { seed: 1 }));
    expect(first.low).not.toBe(bootstrapInterval(200, mean, { seed: 2 }).low);
    // percentile ends of 1000 resamples are uncertain by about a tenth of the half width
    const half = (student.high - student.low) / 2;
    expect(Math.abs(first.low - student.low)).toBeLessThan(0.3 * half);
    expect(Math.abs(first.high - student.high)).toBeLessThan(0.3 * half);
  });

  test('quantiles interpolate like numpy', () => {
    expect(quantile([4, 1, 3, 2], 0.1)).toBeCloseTo(1.3, 12);
    expect(quantile([4, 1, 3, 2], 1)).toBe(4);
    expect(quantile([7], 0.5)).toBe(7);
    expect(() => quantile([], 0.5)).toThrow();
  });
});
