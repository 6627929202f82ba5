import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { chooseTimesteps, nearestTimestep } from '../../../quantization/calibration/timestep-plan.js';

/** DDIM with 20 of 1,000 steps, trailing spacing. */
const SPACING = 50;
const DDIM_20 = Array.from({ length: 20 }, (_, step) => 999 - SPACING * step);
const LAST = 49;

describe('chooseTimesteps', () => {
  test('keeps all, some with both ends, or the middle one', () => {
    expect(chooseTimesteps(DDIM_20, 20)).toEqual(Array.from({ length: 20 }, (_, index) => index));
    expect(chooseTimesteps(DDIM_20, 50)).toHaveLength(20);
    expect(chooseTimesteps(DDIM_20, 5)).toEqual([0, 5, 10, 14, 19]);
    expect(chooseTimesteps(DDIM_20, 2)).toEqual([0, 19]);
    expect(chooseTimesteps(DDIM_20, 1)).toEqual([9]);
    expect(chooseTimesteps([7], 3)).toEqual([0]);
  });

  test('indices increase, have both ends, and gaps differ by at most one', () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 1000 }), fc.integer({ min: 2, max: 1000 }), (available, count) => {
        const chosen = chooseTimesteps(
          Array.from({ length: available }, (_, index) => index),
          count,
        );
        const gaps = chosen.slice(1).map((index, position) => index - (chosen[position] ?? 0));
        expect(chosen[0]).toBe(0);
        expect(chosen.at(-1)).toBe(available - 1);
        expect(chosen).toHaveLength(Math.min(available, count));
        expect(Math.min(...gaps)).toBeGreaterThanOrEqual(1);
        expect(Math.max(...gaps) - Math.min(...gaps)).toBeLessThanOrEqual(1);
      }),
    );
  });

  test('refuses an empty sampler and a count below one', () => {
    expect(() => chooseTimesteps([], 3)).toThrow(RangeError);
    expect(() => chooseTimesteps(DDIM_20, 0)).toThrow(RangeError);
    expect(() => chooseTimesteps(DDIM_20, 1.5)).toThrow(RangeError);
  });
});

describe('nearestTimestep', () => {
  const tables = fc.uniqueArray(fc.integer({ min: 0, max: 999 }), { minLength: 1, maxLength: 40 });
  const timesteps = fc.double({ min: -100, max: 2000, noNaN: true });

  test('every timestep resolves, and no entry is nearer', () => {
    fc.assert(
      fc.property(tables, timesteps, (table, t) => {
        const index = nearestTimestep(table, t);
        const distance = Math.abs((table[index] as number) - t);
        expect(table.every((entry) => Math.abs(entry - t) >= distance)).toBe(true);
        expect(table.findIndex((entry) => Math.abs(entry - t) === distance)).toBe(index);
      }),
    );
  });

  test('the chosen entry never decreases while t increases', () => {
    fc.assert(
      fc.property(tables, timesteps, timesteps, (table, a, b) => {
        const sorted = [...table].sort((x, y) => x - y);
        expect(nearestTimestep(sorted, Math.min(a, b))).toBeLessThanOrEqual(nearestTimestep(sorted, Math.max(a, b)));
      }),
    );
  });

  test('a single entry serves every timestep, and a calibrated timestep serves itself', () => {
    fc.assert(fc.property(timesteps, (t) => nearestTimestep([500], t) === 0));
    fc.assert(fc.property(tables, (table) => table.every((t, index) => nearestTimestep(table, t) === index)));
  });

  test('ties go to the smaller index, in either order of the table', () => {
    expect(nearestTimestep([0, 100], 50)).toBe(0);
    expect(nearestTimestep([100, 0], 50)).toBe(0);
  });

  test('what was calibrated at 20 steps serves 10 and 50 steps', () => {
    for (const steps of [10, 50]) {
      for (let step = 0; step < steps; step += 1) {
        const t = 999 - (1000 / steps) * step;
        const entry = DDIM_20[nearestTimestep(DDIM_20, t)] as number;
        if (t < LAST) expect(entry).toBe(LAST);
        else expect(Math.abs(entry - t)).toBeLessThanOrEqual(SPACING / 2);
      }
    }
  });

  test('refuses an empty table and a timestep that is no number', () => {
    expect(() => nearestTimestep([], 1)).toThrow(RangeError);
    expect(() => nearestTimestep([1], Number.NaN)).toThrow(RangeError);
  });
});
