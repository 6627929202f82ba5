import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { paretoFront } from '../../../evaluation/statistics/pareto-front.js';

const rows = fc.array(
  fc.tuple(fc.integer({ min: 0, max: 6 }), fc.integer({ min: 0, max: 6 }), fc.integer({ min: 0, max: 6 })),
  {
    minLength: 1,
    maxLength: 24,
  },
);

describe('the Pareto front', () => {
  it('is found by hand in two dimensions', () => {
    const costs = [
      [1, 5],
      [2, 3],
      [3, 3],
      [4, 1],
      [4, 1],
      [5, 0.5],
      [2, Number.NaN],
    ];
    expect(paretoFront(costs)).toEqual([0, 1, 3, 4, 5]);
  });

  it('holds for every positive weighting the item of least weighted cost', () => {
    const weights = fc.tuple(
      fc.integer({ min: 1, max: 9 }),
      fc.integer({ min: 1, max: 9 }),
      fc.integer({ min: 1, max: 9 }),
    );
    fc.assert(
      fc.property(rows, weights, (costs, weighting) => {
        const sums = costs.map((row) => row.reduce((sum, cost, i) => sum + cost * (weighting[i] ?? 0), 0));
        const front = paretoFront(costs);
        const best = Math.min(...sums);
        for (const [index, sum] of sums.entries()) if (sum === best) expect(front).toContain(index);
      }),
    );
  });

  it('leaves out exactly what an item of the front beats', () => {
    fc.assert(
      fc.property(rows, (costs) => {
        const front = new Set(paretoFront(costs));
        for (const [index, row] of costs.entries()) {
          const beaten = [...front].some((other) => {
            const better = costs[other] ?? [];
            return better.every((cost, i) => cost <= (row[i] ?? 0)) && better.some((cost, i) => cost < (row[i] ?? 0));
          });
          expect(beaten).toBe(!front.has(index));
        }
      }),
    );
  });
});
