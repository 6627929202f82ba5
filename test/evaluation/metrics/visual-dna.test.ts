import { describe, expect, test } from 'vitest';
import { rowsInMemory } from '../../../evaluation/features/feature-set.js';
import { DNA_BINS, neuronHistograms, neuronRanges, visualDna } from '../../../evaluation/metrics/visual-dna.js';
import { histogramDistance } from '../../../evaluation/statistics/histogram-distance.js';
import { float32 } from '../../../models/tensors/tensor.js';
import { metricContext, namedValue, normalRows, stacked } from './metric-context.js';

const breathe = async () => undefined;

async function dna(fake: ReturnType<typeof normalRows>, real: typeof fake) {
  return namedValue(await visualDna.compute(fake, real, metricContext()), 'visual-dna');
}

describe('the earth mover’s distance of histograms', () => {
  test('is 0 of equal shares, a bin width per bin of a shift, and symmetric', () => {
    const counts = [1, 4, 2, 0, 7, 0];
    expect(
      histogramDistance(
        counts,
        counts.map((count) => 3 * count),
        0.5,
      ),
    ).toBe(0);
    expect(histogramDistance(counts, [0, 1, 4, 2, 0, 7], 0.5)).toBeCloseTo(0.5, 14);
    expect(histogramDistance([14, 0, 0], [0, 0, 1], 0.25)).toBeCloseTo(0.5, 14);
    expect(histogramDistance([3, 1, 0], [1, 1, 5], 2)).toBe(histogramDistance([1, 1, 5], [3, 1, 0], 2));
  });

  test('refuses other bins and empty histograms', () => {
    expect(() => histogramDistance([1], [1, 2], 1)).toThrow(/bins/);
    expect(() => histogramDistance([0, 0], [1, 2], 1)).toThrow(/empty/);
  });
});

describe('the visual DNA', () => {
  test('of a set and itself is exactly 0', async () => {
    const rows = normalRows(1, 60, 5);
    expect((await dna(rows, rows)).value).toBe(0);
  });

  test('of two halves adds up to that of the whole', async () => {
    const [a, b] = [normalRows(1, 37, 4), normalRows(2, 44, 4)];
    const whole = await stacked(a, b);
    const ranges = await neuronRanges([whole], breathe);
    const count = (rows: typeof a) => neuronHistograms(rows, ranges, [1, 4], null, breathe);
    const [left, right, both] = [await count(a), await count(b), await count(whole)];
    const sum = left.map((value, i) => value + (right[i] ?? 0));
    expect(Buffer.compare(Buffer.from(sum.buffer), Buffer.from(both.buffer))).toBe(0);
    expect(both.reduce((total, value) => total + value, 0)).toBe(3 * 81);
    expect(both.length).toBe(3 * DNA_BINS);
  });

  test('of a shift is the shift, within a bin', async () => {
    const real = normalRows(1, 300, 6);
    const fake = { ...real, read: async (a: number, b: number) => (await real.read(a, b)).map((x) => x + 0.5) };
    // 1000 bins over ±4: the cut of both ends costs less than a bin of 0.01
    expect(Math.abs((await dna(fake, real)).value - 0.5)).toBeLessThan(0.01);
  });

  test('has an interval that holds the value of many more rows', async () => {
    const { low, high } = await dna(normalRows(1, 400, 6, 0.5), normalRows(2, 400, 6));
    const many = (await dna(normalRows(3, 8000, 6, 0.5), normalRows(4, 8000, 6))).value;
    expect(low).toBeLessThan(many);
    expect(high).toBeGreaterThan(many);
    expect((high ?? 0) - (low ?? 0)).toBeLessThan(0.3);
  });

  test('of features that never change is 0', async () => {
    const rows = rowsInMemory(float32([3, 2], [1, 2, 1, 2, 1, 2]));
    expect((await dna(rows, rows)).value).toBe(0);
  });
});
