import { NibbleflowError, nearestName } from '../contracts/errors.js';
import type { Score } from '../contracts/score.js';
import { extractorLabel } from './features/extractor-spec.js';
import type { FeatureRows, FeatureSet } from './features/feature-set.js';
import { fidName } from './metrics/frechet-name.js';
import { isPairwise, pairwisePass } from './metrics/pairwise-pass.js';
import type { MetricContext, MetricValue, SetMetric } from './metrics/set-metric.js';
import { SET_METRICS } from './metrics/set-metrics.js';

export interface SetScoreRequest {
  /** The evaluated set. */
  readonly fake: FeatureSet;
  /** What it is measured against, made by the same extractor. */
  readonly real: FeatureSet;
  readonly against: 'float' | 'reference';
  /** Ids of the metric table, in the order of the scores; same-seed metrics among them are left to others. */
  readonly metrics: readonly string[];
  readonly context: MetricContext;
  /** sha256 of the protocol; null without one. */
  readonly protocol: string | null;
  /** Values of the same metrics, by `metric`, between float sets of other seeds. */
  readonly floor?: Readonly<Record<string, number | null>>;
  /** Whether the extractor is the published Inception (`isPublishedInception`): then, and only then, Fréchet is called FID. */
  readonly isPublishedInception?: boolean;
}

/** Coverage of all intervals. */
const LEVEL = 0.95;
/** Below this the field's authors advise against distances between distributions. */
const ENOUGH = 10_000;
/** Metrics of pairs of pictures, which protocols may name beside these. */
const SAME_SEED = new Set(['psnr', 'ssim', 'lpips']);
const DISTANCE_NOTE =
  'shuffling same-seed pictures between the sets is a cautious test: their likeness hides differences';

/**
 * Scores of one set against another. Both sets are in canonical order, so that equal pictures give equal scores to the bit,
 * however their files were named, ordered or sharded. A metric that cannot be computed is a score of null whose notes say why.
 * @throws NibbleflowError InvalidInput for less than two pictures on a side, for sets of different extractors, for features
 * that are not finite (with the picture's key and their number) and for unknown metrics
 */
export async function scoreSets(request: SetScoreRequest): Promise<Score[]> {
  const metrics = request.metrics.flatMap(metricOf);
  await refuseSets(request, metrics);
  const reasons = new Map(metrics.map((metric) => [metric, obstacleOf(metric, request)]));
  const values = await computeAll(
    metrics.filter((metric) => reasons.get(metric) === null),
    request,
  );
  return metrics.flatMap((metric) => {
    const found = values.get(metric);
    if (found !== undefined) return found.map((value, index) => scoreOf(metric, value, index === 0, request));
    const missing = (metric.values ?? [metric.id]).map((name) => missingValue(name, reasons.get(metric) ?? ''));
    return missing.map((value) => ({ ...scoreOf(metric, value, false, request), value: null }));
  });
}

function metricOf(id: string): SetMetric[] {
  const metric = SET_METRICS.find((candidate) => candidate.id === id);
  if (metric !== undefined) return [metric];
  if (SAME_SEED.has(id)) return [];
  const known = SET_METRICS.map((candidate) => candidate.id);
  const nearest = nearestName(id, known);
  throw new NibbleflowError('InvalidInput', `there is no metric ${id}`, {
    fix: nearest === undefined ? `Metrics: ${known.join(', ')}` : `Did you mean ${nearest}?`,
  });
}

async function refuseSets({ fake, real, context }: SetScoreRequest, metrics: readonly SetMetric[]): Promise<void> {
  const labels = [fake, real].map(({ extractor }) => extractorLabel(extractor));
  if (fake.extractor.sha256 !== real.extractor.sha256 || labels[0] !== labels[1]) {
    const both = labels.join(' and ');
    throw new NibbleflowError('InvalidInput', `features of different extractors cannot be compared: ${both}`, {
      fix: 'Extract both sets with the same extractor, resized in the same way.',
    });
  }
  const twoSided = metrics.some((metric) => metric.sides === 2);
  for (const [set, name] of [[fake, 'evaluated'], ...(twoSided ? [[real, 'other'] as const] : [])] as const) {
    if (set.pool.n < 2) {
      throw new NibbleflowError('InvalidInput', `the ${name} set has ${set.pool.n} pictures: two are needed at least`);
    }
    for (const output of new Set(metrics.map((metric) => metric.output))) {
      const rows = set[output];
      if (rows !== undefined) await refuseNonFinite(rows, set.keys, `${output} features of the ${name} set`, context);
    }
  }
}

/** Rows that are checked between two pauses: 16 MiB of float32. */
const CHECKED_ELEMENTS = 2 ** 22;

async function refuseNonFinite(
  rows: FeatureRows,
  keys: readonly string[],
  what: string,
  context: MetricContext,
): Promise<void> {
  const broken: number[] = [];
  const step = Math.max(1, Math.floor(CHECKED_ELEMENTS / rows.d));
  for (let first = 0; first < rows.n; first += step) {
    const data = await rows.read(first, Math.min(rows.n, first + step));
    for (let at = 0; at < data.length; at += 1) {
      if (Number.isFinite(data[at] as number)) continue;
      const row = Math.floor(at / rows.d);
      broken.push(first + row);
      at = (row + 1) * rows.d - 1;
    }
    await context.breathe();
  }
  if (broken.length === 0) return;
  const key = keys[broken[0] ?? 0] ?? 'unknown';
  const pictures = broken.length === 1 ? '1 picture has' : `${broken.length} pictures have`;
  throw new NibbleflowError('InvalidInput', `${what}: ${pictures} numbers that are not finite`, {
    where: `picture with the pixels of sha256 ${key}`,
    fix: 'Leave it out, or extract the features again.',
  });
}

function obstacleOf(metric: SetMetric, { fake, real, context }: SetScoreRequest): string | null {
  const left = fake[metric.output];
  const right = metric.sides === 1 ? left : real[metric.output];
  if (left === undefined) return `${fake.extractor.name} gives no ${metric.output}`;
  if (right === undefined) return `there are no ${metric.output} features of the other side`;
  if (left.d !== right.d) return `${metric.output} features differ in size: ${left.d} and ${right.d}`;
  const fewest = Math.min(left.n, right.n);
  if (fewest < metric.minimum) return `${metric.minimum} pictures are needed at least, there are ${fewest}`;
  return metric.obstacle?.(left.n, right.n, context.settings, left.d) ?? null;
}

/** Metrics of pairs of rows share one pass over the inner products. */
async function computeAll(
  metrics: readonly SetMetric[],
  { fake, real, context }: SetScoreRequest,
): Promise<Map<SetMetric, readonly MetricValue[]>> {
  const result = new Map<SetMetric, readonly MetricValue[]>();
  const shared = metrics.filter(isPairwise);
  if (shared.length > 0) {
    const factories = shared.map((metric) => metric.consumer);
    const values = await pairwisePass(factories, fake.pool, real.pool, context);
    for (const [index, metric] of shared.entries()) result.set(metric, values[index] ?? []);
  }
  for (const metric of metrics) {
    const left = fake[metric.output];
    const right = metric.sides === 1 ? left : real[metric.output];
    if (result.has(metric) || left === undefined || right === undefined) continue;
    result.set(metric, await metric.compute(left, right, context));
    await context.breathe();
  }
  return result;
}

function scoreOf(metric: SetMetric, found: MetricValue, isFirst: boolean, request: SetScoreRequest): Score {
  const { fake, real, against, protocol, floor, context } = request;
  const { n } = fake.pool;
  const isDistance = metric.sides === 2;
  const extractor = extractorLabel(fake.extractor);
  const isFid = found.metric === 'frechet' && request.isPublishedInception === true;
  const small = Math.min(n, isDistance ? real.pool.n : n);
  const shuffled = found.pValue !== undefined && against === 'float' && context.partners === undefined;
  return {
    name: `${isFid ? fidName(fake.extractor.resize) : `${found.metric}[${extractor}]`}-${n}`,
    metric: found.metric,
    against: isDistance ? against : 'none',
    value: found.value,
    low: found.low,
    high: found.high,
    level: found.interval === null ? null : LEVEL,
    interval: found.interval,
    n,
    referenceN: isDistance ? real.pool.n : null,
    unit: found.unit,
    better: found.better,
    floor: isDistance ? (floor?.[found.metric] ?? null) : null,
    pValue: found.pValue ?? null,
    extractor,
    protocol,
    notes: [
      ...(found.notes ?? []),
      ...(shuffled ? [DISTANCE_NOTE] : []),
      ...(isFirst && isDistance && small < ENOUGH ? [`n is small (${small}): compare with the same n only`] : []),
    ],
  };
}

function missingValue(metric: string, reason: string): MetricValue {
  return {
    ...{ metric, value: Number.NaN, low: null, high: null, interval: null, better: null, unit: '' },
    notes: [reason],
  };
}
