import type { FeatureRows } from '../features/feature-set.js';
import { type HeldMatrices, heldMatrices, scoped } from '../linalg/held-matrices.js';
import { covarianceObstacle } from '../statistics/covariance-size.js';
import { studentTQuantile } from '../statistics/student-t.js';
import { both } from './both.js';
import { frechetError } from './frechet-error.js';
import { frechetOfSides } from './frechet-of-sides.js';
import { type GaussianReference, type GaussianSide, sideOfRows, sideOfStatistics } from './gaussian-side.js';
import type { MetricContext, MetricValue, SetMetric } from './set-metric.js';

/**
 * The Fréchet distance as a metric of sets of any size: |μ₁ − μ₂|² + tr Σ₁ + tr Σ₂ − 2·tr (Σ₁Σ₂)^½ of Gaussians fitted to both sets
 * (Heusel et al. 2017), in factor form (frechet-of-sides.ts), with the interval of an infinitesimal jackknife (frechet-error.ts).
 * Streams features: with n > d it holds a few [d, d] matrices, with n ≤ d the rows themselves.
 */
export interface FrechetEstimate {
  /** What is shown: `raw`, or 0 when it is rounding around zero. */
  readonly value: number;
  /** As computed; may be a tiny negative number. */
  readonly raw: number;
  /** |μ₁ − μ₂|², the part that comes from the means. */
  readonly meanTerm: number;
  /** Of the evaluated set's rows, and of the other side's where it has rows. */
  readonly standardError: number;
  readonly low: number;
  readonly high: number;
  /** Rows of each side; null when a statistics file does not say. */
  readonly n: readonly [number, number | null];
  /** What a reader must know. */
  readonly notes: readonly string[];
}

/** Coverage of the interval. */
const LEVEL = 0.95;
/** Below this the field's authors advise against Fréchet distances. */
const ENOUGH_ROWS = 10_000;

/** Of two sets of features [n, d] and [m, d]. Throws InvalidInput for n or m < 2, other sizes, and numbers that are not finite. */
export async function frechetOfRows(
  fake: FeatureRows,
  real: FeatureRows,
  context: MetricContext,
): Promise<FrechetEstimate> {
  const { breathe } = context;
  return scoped(heldMatrices(context.products), async (held) =>
    estimate(await both(sideOfRows(fake, held, breathe), sideOfRows(real, held, breathe)), held, context),
  );
}

/** Of features and the statistics of a file. The interval then counts the evaluated rows only. */
export async function frechetOfStatistics(
  fake: FeatureRows,
  reference: GaussianReference,
  context: MetricContext,
): Promise<FrechetEstimate> {
  const { breathe } = context;
  return scoped(heldMatrices(context.products), async (held) =>
    estimate(await both(sideOfRows(fake, held, breathe), sideOfStatistics(reference, held, breathe)), held, context),
  );
}

async function estimate(
  [a, b]: readonly [GaussianSide, GaussianSide],
  held: HeldMatrices,
  { partners, breathe }: MetricContext,
): Promise<FrechetEstimate> {
  const distance = await frechetOfSides(a, b, held, breathe);
  const { value, raw, meanTerm } = distance;
  const error = (await frechetError(a, b, distance, { held, breathe, partners })) ?? 0;
  const n = a.n ?? 2;
  const half = error * studentTQuantile((1 + LEVEL) / 2, Math.min(n, b.n ?? n) - 1);
  return {
    ...{ value, raw, meanTerm, standardError: error, n: [n, b.n] },
    low: Math.max(0, value - half),
    high: value + half,
    notes: notesOf(a, b, distance),
  };
}

function notesOf(a: GaussianSide, b: GaussianSide, { value, raw }: { value: number; raw: number }): string[] {
  const d = a.mean.length;
  const fewest = Math.min(a.n ?? d + 1, b.n ?? d + 1);
  return [
    ...(fewest < d + 1 ? [`n = ${fewest} is below d + 1 = ${d + 1}: covariances have not full rank`] : []),
    ...(b.source === null ? notesOfStatistics(a.n ?? 0) : []),
    ...(value === 0 && raw !== 0 ? [`rounding around zero, shown as 0 (computed: ${raw.toExponential(2)})`] : []),
  ];
}

/** `scoreSets` says of every distance between sets of rows how small n is; statistics files do not pass there. */
function notesOfStatistics(n: number): string[] {
  return [
    'the interval leaves out that the reference is a sample, too',
    ...(n < ENOUGH_ROWS ? [`n is small (${n}): compare with the same n only`] : []),
  ];
}

/** An estimate as the value of a row of the table. */
export function frechetValue(metric: string, { value, low, high, notes }: FrechetEstimate): MetricValue {
  return { metric, value, low, high, interval: 'jackknife', better: 'lower', unit: 'squared feature distance', notes };
}

/** Row of the table: on pooled features. `scoreSets` says in its name which extractor they are of, and how small n is. */
export const frechetMetric: SetMetric = {
  id: 'frechet',
  output: 'pool',
  sides: 2,
  minimum: 2,
  obstacle: (fake, real, _, d) => covarianceObstacle(Math.max(fake, real), d),
  compute: async (fake, real, context) => [frechetValue('frechet', await frechetOfRows(fake, real, context))],
};
