import { describe, expect, test } from 'vitest';
import { type FeatureRows, reorderedRows, rowsInMemory } from '../../../evaluation/features/feature-set.js';
import { kernelInceptionDistance } from '../../../evaluation/metrics/kernel-inception-distance.js';
import { mongeInceptionDistance } from '../../../evaluation/metrics/monge-inception-distance.js';
import type { MetricContext, MetricValue, SetMetric } from '../../../evaluation/metrics/set-metric.js';
import { slicedWasserstein } from '../../../evaluation/metrics/sliced-wasserstein.js';
import { visualDna } from '../../../evaluation/metrics/visual-dna.js';
import { jackknifeGroups } from '../../../evaluation/statistics/jackknife-groups.js';
import { gaussianTensor, permutation } from '../../../models/tensors/random.js';
import { float32 } from '../../../models/tensors/tensor.js';
import { metricContext, namedValue, normalRows } from './metric-context.js';

const N = 200;
const D = 6;

interface Sets {
  readonly fake: FeatureRows;
  readonly real: FeatureRows;
  readonly partners: Uint32Array;
}

/** Float rows, and the same moved by 0.5 and a little noise in another order: what a quantized model makes of equal seeds. */
async function sameSeedSets(seed: number, n = N, d = D): Promise<Sets> {
  const real = normalRows(seed, n, d);
  const noise = gaussianTensor(seed, 1, [n, d]).data;
  const moved = (await real.read(0, n)).map((value, i) => value + 0.5 + 0.1 * (noise[i] as number));
  const partners = Uint32Array.from(permutation(seed, 2, n));
  return { fake: reorderedRows(rowsInMemory(float32([n, d], moved)), partners), real, partners };
}

const METRICS: readonly (readonly [string, SetMetric])[] = [
  ['kid-full', kernelInceptionDistance],
  ['mind', mongeInceptionDistance],
  ['sliced-wasserstein', slicedWasserstein],
  ['visual-dna', visualDna],
];

const SETTINGS = { kidSubsets: 1, kidSubsetSize: 20, permutations: 0, projections: 40 };
const DRAWS = 30;
/** 95 % of 30 is 28.5; fewer than 24 has a probability of 1 in 10,000. */
const LEAST_HOLDING = 24;
/** Rows of a standard normal hide a shift that is the same in every pair: without partners the interval is several times as wide. */
const NARROWER = 0.6;

const halfWidth = ({ low, high }: MetricValue): number => ((high ?? 0) - (low ?? 0)) / 2;
const meanOf = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

describe('intervals of sets of equal seeds', () => {
  test.each(METRICS)(
    'of %s hold the value of other draws, and are narrower than of independent sets',
    async (name, metric) => {
      const found: { paired: MetricValue; alone: MetricValue }[] = [];
      for (let seed = 0; seed < DRAWS; seed += 1) {
        const { fake, real, partners } = await sameSeedSets(seed);
        const context: MetricContext = metricContext(SETTINGS);
        const paired = namedValue(await metric.compute(fake, real, { ...context, partners }), name);
        found.push({ paired, alone: namedValue(await metric.compute(fake, real, context), name) });
      }
      for (const { paired, alone } of found) expect(paired.value).toBe(alone.value);
      const centre = meanOf(found.map(({ paired }) => paired.value));
      const holding = found.filter(({ paired: { low, high } }) => (low ?? 0) <= centre && centre <= (high ?? 0)).length;
      expect(holding).toBeGreaterThanOrEqual(LEAST_HOLDING);
      const [own, others] = [found.map(({ paired }) => halfWidth(paired)), found.map(({ alone }) => halfWidth(alone))];
      expect(meanOf(own)).toBeLessThan(NARROWER * meanOf(others));
    },
  );

  test('of kid-full are those of leaving out each pair one after the other', async () => {
    const { fake, real, partners } = await sameSeedSets(3, 10, 3);
    const context = metricContext(SETTINGS);
    const full = async (a: FeatureRows, b: FeatureRows, own?: Uint32Array) =>
      namedValue(
        await kernelInceptionDistance.compute(a, b, own === undefined ? context : { ...context, partners: own }),
        'kid-full',
      );
    const without = (row: number) => Uint32Array.from({ length: 9 }, (_, i) => (i < row ? i : i + 1));
    const values: number[] = [];
    for (const [row, partner] of partners.entries()) {
      values.push((await full(reorderedRows(fake, without(row)), reorderedRows(real, without(partner)))).value);
    }
    const mean = meanOf(values);
    const error = Math.sqrt((values.reduce((sum, value) => sum + (value - mean) ** 2, 0) * 9) / 10);
    const { value, high } = await full(fake, real, partners);
    // 2.262: the 97.5 % quantile of Student's t with 9 degrees of freedom
    expect(((high ?? 0) - value) / error).toBeCloseTo(2.262, 3);
  });

  test('leave out partners together, and deal independent rows one by one', () => {
    const partners = Uint32Array.of(2, 0, 1);
    expect(jackknifeGroups(3, 3, partners)).toEqual({ fake: Uint8Array.of(0, 1, 2), real: Uint8Array.of(1, 2, 0) });
    expect(jackknifeGroups(12, 3).fake.slice(9)).toEqual(Uint8Array.of(9, 0, 1));
    expect(jackknifeGroups(12, 3).real).toEqual(Uint8Array.of(0, 1, 2));
  });
});
