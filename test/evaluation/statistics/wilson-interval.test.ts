import { describe, expect, it } from 'vitest';
import { wilsonInterval } from '../../../evaluation/statistics/wilson-interval.js';
import { uniforms } from '../../../models/tensors/random.js';

/** 2,000 trials know a coverage of 0.95 within 0.005 (one standard deviation); Wilson's own is within 0.03 of it at n = 64. */
const TRIALS = 2_000;
const LEAST = 0.92;

describe('the interval of a share', () => {
  it('is Wilson’s of the literature', () => {
    // Newcombe 1998, table I: 81 of 263, and 0 of 20.
    expect(wilsonInterval(81, 263).low).toBeCloseTo(0.2553, 4);
    expect(wilsonInterval(81, 263).high).toBeCloseTo(0.3662, 4);
    expect(wilsonInterval(0, 20)).toEqual({ low: 0, high: expect.closeTo(0.1611, 4) });
    expect(wilsonInterval(20, 20)).toEqual({ low: expect.closeTo(0.8389, 4), high: 1 });
  });

  it.each([0.02, 0.05, 0.5, 0.99])('holds a share of %d as often as it says', (share) => {
    let held = 0;
    for (let trial = 0; trial < TRIALS; trial += 1) {
      const hits = uniforms(3, trial, 64).reduce((sum, u) => sum + (u < share ? 1 : 0), 0);
      const { low, high } = wilsonInterval(hits, 64);
      if (low <= share && share <= high) held += 1;
    }
    expect(held / TRIALS).toBeGreaterThan(LEAST);
  });
});
