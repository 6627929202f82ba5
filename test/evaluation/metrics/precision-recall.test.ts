import { describe, expect, test } from 'vitest';
import { rowsInMemory } from '../../../evaluation/features/feature-set.js';
import { pairwisePass } from '../../../evaluation/metrics/pairwise-pass.js';
import { precisionRecall } from '../../../evaluation/metrics/precision-recall.js';
import { float32 } from '../../../models/tensors/tensor.js';
import { GOLDEN_CASES, goldenFeatures, metricContext, namedValue, normalRows, stacked } from './metric-context.js';

type Shares = Readonly<Record<'precision' | 'recall' | 'density' | 'coverage', number>>;
interface Expected {
  readonly prdc: { readonly direct_strict_k3: Shares; readonly direct_strict_k5: Shares };
}

/** Shares are counts over n: equal counts differ by the rounding of a sum. */
const COUNTS = 1e-9;

/** Four standard deviations of a share of 700 rows, √(¼/700). */
const SHARE_SLACK = 4 * Math.sqrt(0.25 / 700);

async function prdc(fake: ReturnType<typeof normalRows>, real: typeof fake, neighbours = 5): Promise<Shares> {
  const values = await precisionRecall.compute(fake, real, metricContext({ neighbours }));
  const of = (metric: string) => namedValue(values, metric).value;
  return { precision: of('precision'), recall: of('recall'), density: of('density'), coverage: of('coverage') };
}

describe('precision, recall, density and coverage', () => {
  test.each(GOLDEN_CASES)('count the golden case %s as plain strict comparisons do, ties included', async (name) => {
    const { fake, real, expected } = goldenFeatures<Expected>(name);
    for (const k of [3, 5] as const) {
      const found = await prdc(fake, real, k);
      for (const [metric, want] of Object.entries(expected.prdc[`direct_strict_k${k}`])) {
        expect(Math.abs(found[metric as keyof Shares] - want), `${metric}, k = ${k}`).toBeLessThan(COUNTS);
      }
    }
  });

  test('of equal distributions are what the closed forms say', async () => {
    const n = 700;
    const { density, coverage } = await prdc(normalRows(1, n, 64), normalRows(2, n, 64));
    const missed = [1, 2, 3, 4, 5].reduce((product, i) => product * ((n - i) / (2 * n - i)), 1);
    expect(Math.abs(coverage - (1 - missed))).toBeLessThan(SHARE_SLACK / 2);
    expect(Math.abs(density - 1)).toBeLessThan(2 * SHARE_SLACK);
  });

  test('a far real row moves precision, and hardly density', async () => {
    const real = normalRows(2, 300, 8);
    // as far away as they are from each other, so that its ball holds many of them
    const outlier = rowsInMemory(float32([1, 8], [60, 0, 0, 0, 0, 0, 0, 0]));
    const fake = normalRows(1, 300, 8, 0, 4);
    const plain = await prdc(fake, real);
    const moved = await prdc(fake, await stacked(real, outlier));
    expect(moved.precision - plain.precision).toBeGreaterThan(0.2);
    // one ball adds at most 1/k to a row's density
    expect(moved.density - plain.density).toBeLessThan((moved.precision - plain.precision) / 4);
  });

  test('a dropped mode lowers coverage by its share, and neither precision nor density', async () => {
    const real = await stacked(normalRows(1, 200, 6), normalRows(2, 200, 6, 30));
    const both = await prdc(await stacked(normalRows(3, 200, 6), normalRows(4, 200, 6, 30)), real);
    const one = await prdc(normalRows(3, 400, 6), real);
    expect(one.coverage / both.coverage).toBeGreaterThan(0.45);
    expect(one.coverage / both.coverage).toBeLessThan(0.55);
    expect(Math.abs(one.precision - both.precision)).toBeLessThan(0.1);
    expect(Math.abs(one.density - both.density)).toBeLessThan(0.15);
  });

  test('are the same after moving both sets far from the origin, where float32 distances are noise', async () => {
    // multiples of 2⁻⁸ below 8 stay exact in float32 beside 4096
    const grid = (seed: number) => {
      const rows = normalRows(seed, 80, 5);
      const rounded = (shift: number) => ({
        ...rows,
        read: async (first: number, end: number) =>
          (await rows.read(first, end)).map((value) => Math.round(value * 256) / 256 + shift),
      });
      return [rounded(0), rounded(4096)] as const;
    };
    const [near, far] = grid(1);
    const [otherNear, otherFar] = grid(2);
    expect(await prdc(far, otherFar)).toEqual(await prdc(near, otherNear));
  });

  test('do not depend on the size of tiles at all', async () => {
    const context = metricContext({ neighbours: 3 });
    const at = async (step: number) =>
      (await pairwisePass([precisionRecall.consumer], normalRows(1, 61, 4), normalRows(2, 53, 4), context, step))[0];
    const whole = await at(100);
    for (const step of [1, 7, 60]) expect(await at(step)).toEqual(whole);
  });

  test('say when there are too few rows for the neighbours', () => {
    const settings = metricContext({ neighbours: 5 }).settings;
    expect(precisionRecall.obstacle?.(5, 100, settings, 8)).toMatch(/no 5 nearest neighbours/);
    expect(precisionRecall.obstacle?.(6, 6, settings, 8)).toBeNull();
  });
});
