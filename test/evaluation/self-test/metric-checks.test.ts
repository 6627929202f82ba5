import { describe, expect, it } from 'vitest';
import { type MatrixProducts, plainProducts } from '../../../evaluation/linalg/matrix-products.js';
import type { SetMetric } from '../../../evaluation/metrics/set-metric.js';
import { SET_METRICS } from '../../../evaluation/metrics/set-metrics.js';
import {
  closedFormChecks,
  inceptionScoreChecks,
  kidCheck,
  productsCheck,
  sameSetChecks,
} from '../../../evaluation/self-test/metric-checks.js';
import type { SelfTestRow } from '../../../evaluation/self-test/self-test-row.js';
import { metricContext } from '../metrics/metric-context.js';

const context = metricContext();

async function allChecks(metrics: readonly SetMetric[]): Promise<SelfTestRow[]> {
  return [
    ...(await sameSetChecks(metrics, context)),
    ...(await closedFormChecks(metrics, context)),
    await kidCheck(metrics, context),
    ...(await inceptionScoreChecks(metrics, context)),
  ];
}

const failed = (rows: readonly SelfTestRow[]): string[] => rows.flatMap(({ passed, name }) => (passed ? [] : [name]));

/** The table with one metric whose values all went through `change`. */
function tableWith(id: string, change: (value: number) => number): SetMetric[] {
  return SET_METRICS.map((metric) =>
    metric.id !== id
      ? metric
      : {
          ...metric,
          compute: async (fake, real, given) =>
            (await metric.compute(fake, real, given)).map((found) => ({ ...found, value: change(found.value) })),
        },
  );
}

describe("the self-test's checks of metrics", () => {
  it('pass with the metrics that ship', async () => {
    expect(failed(await allChecks(SET_METRICS))).toEqual([]);
  });

  it.each([
    ['frechet', (value: number) => value + 1e-3, /frechet of a set|Fréchet distance of two known/],
    ['mind', (value: number) => value * 2, /MIND of a shift/],
    ['kid', (value: number) => value * 1.001, /KID of two sets/],
    ['visual-dna', (value: number) => value + 0.01, /visual-dna of a set/],
    ['prdc', (value: number) => value * 0.99, /^(precision|recall|density|coverage) of a set/],
    ['inception-score', (value: number) => value ** 1.01, /Inception score/],
    ['frechet', () => Number.NaN, /frechet of a set|Fréchet distance of two known/],
  ] as const)('name a %s that is slightly wrong, and nothing else', async (id, change, name) => {
    const names = failed(await allChecks(tableWith(id, change)));
    expect(names.length).toBeGreaterThan(0);
    expect(names.filter((failure) => !name.test(failure))).toEqual([]);
  });

  it('do not pass without one of their metrics', async () => {
    const without = SET_METRICS.filter(({ id }) => id !== 'sfid');
    await expect(sameSetChecks(without, context)).rejects.toThrow(/no metric sfid/);
  });

  it('notice products that are only as good as float32', async () => {
    const rounded: MatrixProducts = {
      timesTransposed: async (a, b) => {
        const product = await plainProducts.timesTransposed(a, b);
        return { ...product, data: product.data.map(Math.fround) };
      },
    };
    expect((await productsCheck({ ...context, products: rounded })).passed).toBe(false);
    expect((await productsCheck(context)).passed).toBe(true);
  });
});
