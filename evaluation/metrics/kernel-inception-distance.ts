import { permutation } from '../../models/tensors/random.js';
import { type PermutationTest, permutationTest } from '../statistics/permutation-test.js';
import { quantile } from '../statistics/quantile.js';
import { studentTQuantile } from '../statistics/student-t.js';
import { type KernelSubsets, KernelSums } from './kernel-sums.js';
import { type PairConsumer, type PairGeometry, type PairTile, pairwiseMetric } from './pairwise-pass.js';
import type { MetricContext, MetricValue } from './set-metric.js';

/**
 * Kernel inception distance (Bińkowski et al. 2018): the unbiased squared maximum mean discrepancy with k(x, y) = (x·y/d + 1)³,
 *   Σ_{i≠j} k(xᵢ, xⱼ)/(n(n−1)) + Σ_{i≠j} k(yᵢ, yⱼ)/(m(m−1)) − 2·Σᵢⱼ k(xᵢ, yⱼ)/(nm),
 * in float64. `kid` is the mean over random subsets, as the field reports it (100 subsets of 1000 rows), with the middle 95 % of
 * the subsets as its interval: the spread of the distance at that subset size. `kid-full` uses every pair once: the less noisy
 * estimate of the same quantity, with the interval of a jackknife over rows, or over same-seed pairs where there are partners, which
 * are no independent rows. Both are unbiased, so the number of rows does not
 * move them, and both may be negative. Values are not multiplied by 1000, as some papers do.
 */
export interface KernelDistance {
  readonly full: number;
  /** Jackknife standard error of `full`; null with less than three rows on a side. */
  readonly fullError: number | null;
  readonly subsets: Float64Array;
}

const UNIT = 'MMD²';
const LEVEL = 0.95;
/** Rows a side in the permutation test: their kernel matrix has 4000² values, 128 MB. */
const TESTED_ROWS = 2000;

/** Distances from the sums of all tiles. */
export function kernelDistance(sums: KernelSums, subsets: KernelSubsets, partners?: Uint32Array): KernelDistance {
  const { within, across, subsetSums } = sums;
  const total = (values: Float64Array): number => values.reduce((a, b) => a + b, 0);
  const n = within.fake.length;
  const m = within.real.length;
  const both = { fake: total(within.fake), real: total(within.real), cross: total(across.fake) };
  return {
    full: mmd(both.fake, both.real, both.cross, n, m),
    fullError:
      n < 3 || m < 3 ? null : partners === undefined ? jackknifeError(sums, both) : pairedError(sums, both, partners),
    subsets: subsetSums.cross.map((cross, s) =>
      mmd(
        2 * (subsetSums.fake[s] as number),
        2 * (subsetSums.real[s] as number),
        cross,
        subsets.fake[s]?.length ?? 0,
        subsets.real[s]?.length ?? 0,
      ),
    ),
  };
}

function mmd(fake: number, real: number, cross: number, n: number, m: number): number {
  return fake / (n * (n - 1)) + real / (m * (m - 1)) - (2 * cross) / (n * m);
}

/** √(Σ over both sides of (n − 1)/n · Σᵢ(θ₍ᵢ₎ − θ̄)²), θ₍ᵢ₎ without row i. */
function jackknifeError(sums: KernelSums, both: { fake: number; real: number; cross: number }): number {
  const { within, across } = sums;
  const n = within.fake.length;
  const m = within.real.length;
  const withoutFake = within.fake.map((own, i) =>
    mmd(both.fake - 2 * own, both.real, both.cross - (across.fake[i] as number), n - 1, m),
  );
  const withoutReal = within.real.map((own, j) =>
    mmd(both.fake, both.real - 2 * own, both.cross - (across.real[j] as number), n, m - 1),
  );
  return Math.sqrt(jackknifeVariance(withoutFake) + jackknifeVariance(withoutReal));
}

/** The same with θ₍ᵢ₎ without fake row i and its partner. */
function pairedError(
  { within, across, partnered }: KernelSums,
  both: { fake: number; real: number; cross: number },
  partners: Uint32Array,
): number {
  const n = partners.length;
  const without = Float64Array.from(partners, (j, i) => {
    const cross = both.cross - (across.fake[i] as number) - (across.real[j] as number) + (partnered[i] as number);
    const fake = both.fake - 2 * (within.fake[i] as number);
    return mmd(fake, both.real - 2 * (within.real[j] as number), cross, n - 1, n - 1);
  });
  return Math.sqrt(jackknifeVariance(without));
}

function jackknifeVariance(values: Float64Array): number {
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  const squares = values.reduce((a, value) => a + (value - mean) ** 2, 0);
  return (squares * (values.length - 1)) / values.length;
}

/** The subsets of a seed: `size` different rows each, real and fake drawn independently. */
export function kernelSubsets(seed: number, count: number, size: number, n: number, m: number): KernelSubsets {
  const draw = (rows: number, side: number): Uint32Array[] =>
    Array.from({ length: count }, (_, s) => permutation(seed, 2 * s + side, rows).slice(0, size));
  return { fake: draw(n, 0), real: draw(m, 1) };
}

/** Rows of the permutation test, ascending, and of each fake one the place of its partner among the real ones. */
interface TestedRows {
  readonly fake: Uint32Array;
  readonly real: Uint32Array;
  readonly partners?: Uint32Array;
}

function testedRows(n: number, m: number, { settings, partners }: MetricContext): TestedRows {
  const { seed, kidSubsets, permutations } = settings;
  const draw = (rows: number, side: number): Uint32Array =>
    permutation(seed, 2 * kidSubsets + side, rows)
      .slice(0, permutations === 0 ? 0 : TESTED_ROWS)
      .sort();
  const fake = draw(n, 0);
  if (partners === undefined) return { fake, real: draw(m, 1) };
  const theirs = Uint32Array.from(fake, (row) => partners[row] as number);
  const real = Uint32Array.from(theirs).sort();
  const place = new Map(Array.from(real, (row, index) => [row, index]));
  return { fake, real, partners: theirs.map((row) => place.get(row) as number) };
}

class KidConsumer implements PairConsumer {
  private readonly subsets: KernelSubsets;
  private readonly tested: TestedRows;
  private readonly sums: KernelSums;
  private readonly size: number;

  constructor(
    private readonly geometry: PairGeometry,
    private readonly context: MetricContext,
  ) {
    const { seed, kidSubsets, kidSubsetSize } = context.settings;
    const n = geometry.fake.n;
    const m = geometry.real.n;
    this.size = Math.min(kidSubsetSize, n, m);
    this.subsets = kernelSubsets(seed, kidSubsets, this.size, n, m);
    this.tested = testedRows(n, m, context);
    this.sums = new KernelSums(geometry, this.subsets, this.tested, context.partners);
  }

  add(tile: PairTile): void {
    this.sums.add(tile);
  }

  async finish(): Promise<readonly MetricValue[]> {
    const { full, fullError, subsets } = kernelDistance(this.sums, this.subsets, this.context.partners);
    const { fake, real } = this.geometry;
    const test = await this.permutationTest();
    const half =
      fullError === null ? null : fullError * studentTQuantile((1 + LEVEL) / 2, Math.min(fake.n, real.n) - 1);
    const common = { better: 'lower', unit: UNIT } as const;
    return [
      { ...common, ...this.subsetValue(subsets), ...(test === null ? {} : { pValue: test.pValue }) },
      {
        ...common,
        metric: 'kid-full',
        value: full,
        low: half === null ? null : full - half,
        high: half === null ? null : full + half,
        interval: half === null ? null : 'jackknife',
        notes: ['unbiased over all pairs of rows; around 0 it may be negative'],
      },
    ];
  }

  private async permutationTest(): Promise<PermutationTest | null> {
    const { settings, products } = this.context;
    const { fake, partners } = this.tested;
    if (settings.permutations === 0) return null;
    const options = { seed: settings.seed, permutations: settings.permutations, products };
    return permutationTest(this.sums.sampled, fake.length, partners === undefined ? options : { ...options, partners });
  }

  /** Subsets of more than half a side share most of their rows: their spread says too little. */
  private subsetValue(
    subsets: Float64Array,
  ): Pick<MetricValue, 'metric' | 'value' | 'low' | 'high' | 'interval' | 'notes'> {
    const { size, geometry } = this;
    const value = subsets.reduce((a, b) => a + b, 0) / subsets.length;
    const deviation = Math.sqrt(subsets.reduce((a, b) => a + (b - value) ** 2, 0) / subsets.length);
    const hasSpread = 2 * size <= Math.min(geometry.fake.n, geometry.real.n) && subsets.length > 1;
    const note = `mean of ${subsets.length} subsets of ${size}, standard deviation ${deviation.toPrecision(3)}`;
    const whole = 'a subset holds more than half a side, so that subsets hardly differ: see kid-full for an interval';
    return {
      metric: 'kid',
      value,
      low: hasSpread ? quantile(subsets, (1 - LEVEL) / 2) : null,
      high: hasSpread ? quantile(subsets, (1 + LEVEL) / 2) : null,
      interval: hasSpread ? 'subsets' : null,
      notes: [hasSpread ? note : `${note}; ${whole}`, 'unbiased: around 0 it may be negative; not multiplied by 1000'],
    };
  }
}

/** Rows of the table; tests give subsets of their own through `KernelSums`. */
export const kernelInceptionDistance = pairwiseMetric({
  id: 'kid',
  values: ['kid', 'kid-full'],
  minimum: 2,
  consumer: (geometry, context) => new KidConsumer(geometry, context),
});
