import type { Score } from '../contracts/score.js';
import { extractorLabel } from './features/extractor-spec.js';
import type { FeatureSet } from './features/feature-set.js';
import { frechetOfStatistics, frechetValue } from './metrics/frechet-metric.js';
import { fidName } from './metrics/frechet-name.js';
import type { MetricValue, SetMetric } from './metrics/set-metric.js';
import { SET_METRICS } from './metrics/set-metrics.js';
import { type SetScoreRequest, scoreSets } from './score-sets.js';
import { covarianceObstacle } from './statistics/covariance-size.js';
import type { FeatureGaussian, ReferenceStatistics } from './statistics/reference-statistics.js';

export interface StatisticsScoreRequest extends Omit<SetScoreRequest, 'real' | 'against' | 'floor'> {
  readonly statistics: ReferenceStatistics;
}

/** Which Gaussian of a statistics file a metric can use; others need the rows. */
const GAUSSIANS: Readonly<Record<string, (statistics: ReferenceStatistics) => FeatureGaussian | null>> = {
  frechet: ({ pool }) => pool,
  sfid: ({ spatial }) => spatial,
};

/** Coverage of all intervals. */
const LEVEL = 0.95;

/**
 * Scores against a statistics file of moments: Fréchet distances and metrics of one set. Every other metric is a score of null
 * whose notes say why. Files that keep rows are scored by `scoreSets`.
 */
export async function scoreAgainstStatistics(request: StatisticsScoreRequest): Promise<Score[]> {
  const scores: Score[] = [];
  for (const metric of request.metrics.flatMap((id) => SET_METRICS.filter((known) => known.id === id))) {
    if (metric.sides === 1) scores.push(...(await alone(metric, request)));
    else scores.push(...(await againstGaussian(metric, request)));
  }
  return scores;
}

/** A metric that looks at one set only. */
function alone({ id }: SetMetric, request: StatisticsScoreRequest): Promise<Score[]> {
  return scoreSets({ ...request, real: request.fake, against: 'reference', metrics: [id] });
}

async function againstGaussian(metric: SetMetric, request: StatisticsScoreRequest): Promise<Score[]> {
  const { fake, statistics, context } = request;
  const rows = fake[metric.output];
  const obstacle = obstacleOf(metric, fake, statistics);
  const gaussian = GAUSSIANS[metric.id]?.(statistics);
  if (obstacle !== null || rows === undefined || gaussian === undefined || gaussian === null) {
    return (metric.values ?? [metric.id]).map((name) => ({
      ...scoreOf({ ...UNKNOWN, metric: name, notes: [`left out: ${obstacle ?? ''}`] }, request),
      value: null,
    }));
  }
  const estimate = await frechetOfStatistics(rows, { n: statistics.n, ...gaussian }, context);
  return [scoreOf(frechetValue(metric.id, estimate), request)];
}

function obstacleOf(
  { id, output, minimum }: SetMetric,
  fake: FeatureSet,
  statistics: ReferenceStatistics,
): string | null {
  const gaussianOf = GAUSSIANS[id];
  const rows = fake[output];
  if (gaussianOf === undefined) {
    return 'it needs the features of every reference picture; `nibbleflow stats --features` keeps them, or give the folder';
  }
  if (rows === undefined) return `${fake.extractor.name} gives no ${output}`;
  const gaussian = gaussianOf(statistics);
  if (gaussian === null) return `the statistics file holds none of ${output} features`;
  if (gaussian.mean.length !== rows.d) {
    return `the statistics file has ${gaussian.mean.length} ${output} features, ${fake.extractor.name} makes ${rows.d}`;
  }
  const tooWide = covarianceObstacle(Number.POSITIVE_INFINITY, rows.d);
  if (tooWide !== null) return tooWide;
  return rows.n < minimum ? `${minimum} pictures are needed at least, there are ${rows.n}` : null;
}

const UNKNOWN = { value: Number.NaN, low: null, high: null, interval: null, better: null, unit: '' } as const;

function scoreOf(
  found: MetricValue,
  { fake, statistics, protocol, isPublishedInception }: StatisticsScoreRequest,
): Score {
  const extractor = extractorLabel(fake.extractor);
  const { n } = fake.pool;
  const isFid = found.metric === 'frechet' && isPublishedInception === true;
  const { metric, value, low, high, interval, unit, better, notes = [] } = found;
  return {
    name: `${isFid ? fidName(fake.extractor.resize) : `${metric}[${extractor}]`}-${n}`,
    ...{ metric, against: 'reference', value, low, high, level: interval === null ? null : LEVEL, interval },
    ...{ n, referenceN: statistics.n, unit, better, floor: null, pValue: null, extractor, protocol },
    notes: [...notes],
  };
}
