import { describe, expect, test } from 'vitest';
import { outOfDistributionRate } from '../../../evaluation/metrics/out-of-distribution-rate.js';
import { metricContext, namedValue, normalRows, stacked } from './metric-context.js';

/** Four standard deviations of a share of 5 % among 1000 rows. */
const SLACK = 4 * Math.sqrt((0.05 * 0.95) / 1000);

async function rate(fake: ReturnType<typeof normalRows>, real: typeof fake) {
  return namedValue(await outOfDistributionRate.compute(fake, real, metricContext()), 'ood-rate');
}

describe('the out-of-distribution rate', () => {
  test('is 5 % of rows of the real distribution, with an interval around it', async () => {
    const { value, low, high } = await rate(normalRows(1, 1000, 8), normalRows(2, 1000, 8));
    expect(Math.abs(value - 0.05)).toBeLessThan(SLACK);
    expect(low).toBeLessThan(value);
    expect(high).toBeGreaterThan(value);
  });

  test('is 100 % of noise and exactly the share of broken rows above the 5 % of good ones', async () => {
    const real = normalRows(2, 400, 8);
    const noise = normalRows(3, 40, 8, 0, 30);
    expect((await rate(noise, real)).value).toBe(1);
    const good = normalRows(4, 360, 8);
    const alone = (await rate(good, real)).value;
    const mixed = (await rate(await stacked(good, noise), real)).value;
    expect(mixed * 400).toBeCloseTo(alone * 360 + 40, 9);
  });

  test('leaves each real row out of its own neighbours: copies of the real set are inside', async () => {
    const real = normalRows(2, 200, 8);
    // a copy has itself at distance 0, so that its k-th neighbour is nearer than the original's
    expect((await rate(real, real)).value).toBeLessThan(0.05);
  });
});
