import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { selectExtremes } from '../../../evaluation/report/select-extremes.js';

describe('selectExtremes', () => {
  test('finds the k worst and the k best, each from the end inwards', () => {
    expect(selectExtremes([5, 1, 4, 2, 3], 'higher', 2)).toEqual({ worst: [1, 3], best: [0, 2] });
    expect(selectExtremes([5, 1, 4, 2, 3], 'lower', 2)).toEqual({ worst: [0, 2], best: [1, 3] });
  });

  test('no picture is among both, no value outside lies beyond one inside, and NaN is never shown', () => {
    const values = fc.array(fc.oneof(fc.double({ noNaN: true }), fc.constant(Number.NaN)), { maxLength: 40 });
    fc.assert(
      fc.property(values, fc.integer({ min: 1, max: 8 }), (all, shown) => {
        const { worst, best } = selectExtremes(all, 'higher', shown);
        expect(new Set([...worst, ...best]).size).toBe(worst.length + best.length);
        for (const i of [...worst, ...best]) expect(all[i]).not.toBeNaN();
        const others = all.filter((value, i) => !Number.isNaN(value) && !worst.includes(i) && !best.includes(i));
        for (const value of others) {
          for (const i of worst) expect(all[i]).toBeLessThanOrEqual(value);
          for (const i of best) expect(all[i]).toBeGreaterThanOrEqual(value);
        }
      }),
    );
  });

  test('few pictures are shared out', () => {
    expect(selectExtremes([3, 1, 2], 'higher')).toEqual({ worst: [1, 2], best: [0] });
    expect(selectExtremes([], 'higher')).toEqual({ worst: [], best: [] });
  });
});
