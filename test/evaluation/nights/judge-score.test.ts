import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { NightVerdict } from '../../../contracts/night-record.js';
import { baselineSchema } from '../../../contracts/nights.js';
import { judgeScore, type NightPoint } from '../../../evaluation/nights/judge-score.js';

const settings = baselineSchema.parse({ ratio: 0.05, minimum: 3, window: 5 });
const ABSOLUTE = 0.5;

/** Night after night, each judged with what was said of those before. */
function nights(values: readonly number[], better: 'higher' | 'lower', wanted = settings) {
  const points: NightPoint[] = [];
  const verdicts: NightVerdict[] = [];
  for (const [index, value] of values.entries()) {
    const at = `2026-01-${String(index + 1).padStart(2, '0')}T02:00:00.000Z`;
    const { verdict } = judgeScore([...points, { at, value, verdict: 'learning' }], better, wanted, ABSOLUTE);
    points.push({ at, value, verdict });
    verdicts.push(verdict);
  }
  return verdicts;
}

/** The rule a second time, by counting: how many of the last three lie beyond the value that half of the baseline does not exceed. */
function byCounting(points: readonly NightPoint[], better: 'higher' | 'lower', absolute: number) {
  const sign = better === 'higher' ? -1 : 1;
  const old = points.filter((point, index) => index < points.length - settings.lag && point.verdict !== 'regression');
  const base = old.filter((_, index) => index >= old.length - settings.window).map(({ value }) => value);
  if (base.length < settings.minimum) return 'learning';
  const rank = (k: number) =>
    base.find(
      (value) => base.filter((other) => other < value).length <= k && base.filter((other) => other <= value).length > k,
    ) as number;
  const n = base.length;
  const middle = (rank(Math.ceil(n / 2) - 1) + rank(Math.floor(n / 2))) / 2;
  const beyond = (value: number, direction: number) =>
    direction * sign * (value - middle) > absolute &&
    direction * sign * (value - middle) > settings.ratio * Math.abs(middle);
  const last = points.slice(points.length - 3).map(({ value }) => value);
  const tonight = last.at(-1) as number;
  if (last.filter((value) => beyond(value, 1)).length > 1) return 'regression';
  if (beyond(tonight, 1)) return 'suspect';
  return beyond(tonight, -1) && last.filter((value) => beyond(value, -1)).length > 1 ? 'improved' : 'steady';
}

describe('the rule of nights', () => {
  it('agrees with counting, for any history', () => {
    const point = fc.record({
      at: fc.constant('2026-01-01T02:00:00.000Z'),
      value: fc.integer({ min: -60, max: 60 }).map((value) => value / 2),
      verdict: fc.constantFrom<NightVerdict>('learning', 'steady', 'suspect', 'regression'),
    });
    const better = fc.constantFrom<'higher' | 'lower'>('higher', 'lower');
    const seen = new Set<string>();
    fc.assert(
      fc.property(fc.array(point, { minLength: 1, maxLength: 14 }), better, (points, direction) => {
        const { verdict } = judgeScore(points, direction, settings, ABSOLUTE);
        seen.add(verdict);
        expect(verdict).toBe(byCounting(points, direction, ABSOLUTE));
      }),
      { numRuns: 3000, seed: 5 },
    );
    expect([...seen].sort()).toEqual(['improved', 'learning', 'regression', 'steady', 'suspect']);
  });

  it('learns until there are enough nights before the lag, and is steady then', () => {
    expect(nights([20, 20, 20, 20, 20, 20, 20], 'higher')).toEqual([
      ...new Array<string>(5).fill('learning'),
      'steady',
      'steady',
    ]);
  });

  it('suspects one bad night, alarms at two of three, and forgives one outlier', () => {
    const good = [20, 20.1, 19.9, 20, 20, 20];
    expect(nights([...good, 17, 17], 'higher').slice(-2)).toEqual(['suspect', 'regression']);
    expect(nights([...good, 17, 20, 17], 'higher').slice(-3)).toEqual(['suspect', 'steady', 'regression']);
    expect(nights([...good, 17, 20, 20, 17, 20], 'higher').slice(-5)).not.toContain('regression');
  });

  it('knows which direction is worse', () => {
    const good = [20, 20, 20, 20, 20, 20];
    expect(nights([...good, 23, 23], 'lower').at(-1)).toBe('regression');
    expect(nights([...good, 23, 23], 'higher').at(-1)).toBe('improved');
  });

  it('needs both the share and the amount', () => {
    // 4 % of 100 is above the amount, 0.4 of 4 above the share: each alone is no alarm.
    expect(nights([100, 100, 100, 100, 100, 100, 96, 96], 'higher').at(-1)).toBe('steady');
    expect(nights([4, 4, 4, 4, 4, 4, 3.6, 3.6], 'higher').at(-1)).toBe('steady');
    expect(nights([4, 4, 4, 4, 4, 4, 3.4, 3.4], 'higher').at(-1)).toBe('regression');
  });

  it('is not poisoned: a regression that stays is an alarm every night, and one that creeps in is seen', () => {
    const stays = nights([...new Array<number>(8).fill(20), ...new Array<number>(40).fill(17)], 'higher');
    expect(stays.slice(9).every((verdict) => verdict === 'regression')).toBe(true);
    // 0.2 a night: five nights of no lag would always be within 1 of it.
    const decline = [...new Array<number>(8).fill(20), ...Array.from({ length: 20 }, (_, night) => 20 - 0.2 * night)];
    const creeps = nights(decline, 'higher', { ...settings, window: 14 });
    expect(creeps).toContain('regression');
  });

  it('recovers on the second good night, and takes a new level as the baseline when told since when', () => {
    const bad = [20, 20, 20, 20, 20, 20, 17, 17, 20, 20];
    expect(nights(bad, 'higher').slice(-3)).toEqual(['regression', 'regression', 'steady']);
    const level = [20, 20, 20, 20, 20, 20, 17, 17, 17, 17, 17, 17, 17];
    expect(nights(level, 'higher').at(-1)).toBe('regression');
    const points = level.map((value, index) => ({
      at: `2026-01-${String(index + 1).padStart(2, '0')}T02:00:00.000Z`,
      value,
      verdict: 'steady' as const,
    }));
    const accepted = judgeScore(points, 'higher', { ...settings, since: '2026-01-07' }, ABSOLUTE);
    expect(accepted).toMatchObject({ verdict: 'steady', baseline: 17, baselineNights: 4 });
  });
});
