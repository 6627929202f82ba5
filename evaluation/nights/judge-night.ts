import { canonicalJson } from '../../contracts/canonical-json.js';
import type { NightOutcome, NightRun } from '../../contracts/night-activities.js';
import {
  type NightIdentity,
  type NightMetric,
  type NightPipeline,
  type NightRecord,
  type ScheduleCounts,
  worstVerdict,
} from '../../contracts/night-record.js';
import type { NightEvent, NightSpec } from '../../contracts/nights.js';
import type { Score } from '../../contracts/score.js';
import { judgeScore, type NightPoint } from './judge-score.js';
import { ABSOLUTE_THRESHOLDS } from './metric-thresholds.js';

export interface JudgedNight {
  readonly night: NightSpec;
  readonly run: NightRun;
  readonly outcomes: readonly NightOutcome[];
  /** Records of this night's name, in the order of `at`; of tonight there may be one from an earlier attempt. */
  readonly history: readonly NightRecord[];
  readonly counts: ScheduleCounts | null;
  /** ISO times, in order, at which the night was due between the record before and tonight, both left out. */
  readonly due: readonly string[];
  /** sha256, hex. */
  readonly digest: (text: string) => string;
}

const HOUR_MS = 3_600_000;

/** What is kept of a night and what there is to tell: compares each score with the nights before it. */
export function judgeNight(judged: JudgedNight): { record: NightRecord; events: NightEvent[] } {
  const { night, run, outcomes, counts, due } = judged;
  const before = judged.history.filter(({ at, runId }) => at < run.at && runId !== run.runId);
  const previous = before.at(-1);
  const pipelines = outcomes.map((outcome) => pipelineOf(outcome, before, judged));
  const record: NightRecord = {
    schemaVersion: 1,
    night: night.name,
    at: run.at,
    startedAt: run.startedAt,
    workflowId: run.workflowId,
    runId: run.runId,
    late: Date.parse(run.startedAt) - Date.parse(run.at) > night.catchupHours * HOUR_MS,
    verdict: worstVerdict(pipelines.map(({ verdict }) => verdict)),
    pipelines,
    counts,
    missed: since(counts?.missed, previous?.counts?.missed),
    skipped: since(counts?.skipped, previous?.counts?.skipped),
    absent: previous === undefined ? [] : [...due],
  };
  return { record, events: eventsOf(record, previous) };
}

/** Counters start again at zero when a schedule is made anew. */
function since(now: number | undefined, then: number | undefined): number {
  if (now === undefined) return 0;
  return then === undefined || then > now ? now : now - then;
}

function eventsOf(record: NightRecord, previous: NightRecord | undefined): NightEvent[] {
  const isBad = ({ verdict }: NightRecord): boolean => verdict === 'regression' || verdict === 'failed';
  const has = (verdict: string): boolean => record.pipelines.some((pipeline) => pipeline.verdict === verdict);
  return [
    ...(has('regression') ? ['regression' as const] : []),
    ...(has('failed') ? ['failed' as const] : []),
    ...(has('suspect') ? ['suspect' as const] : []),
    ...(previous !== undefined && isBad(previous) && !isBad(record) ? ['recovered' as const] : []),
    ...(record.missed > 0 ? ['missed' as const] : []),
    ...(record.skipped > 0 ? ['skipped' as const] : []),
    'finished',
  ];
}

function pipelineOf(outcome: NightOutcome, before: readonly NightRecord[], judged: JudgedNight): NightPipeline {
  const { name, failure, workflowId, spec, report } = outcome;
  const identity = spec === null ? null : identityOf(spec);
  const common = { name, failure, workflowId, candidate: spec?.candidate.digest ?? null, report, identity };
  if (failure !== null || identity === null) return { ...common, verdict: 'failed', metrics: [] };
  const metrics = outcome.scores
    .filter(({ metric }) => judged.night.metrics.includes(metric))
    .map((score) => metricOf(score, name, identity, before, judged));
  return { ...common, verdict: worstVerdict(metrics.map(({ verdict }) => verdict)), metrics };
}

function identityOf(spec: NonNullable<NightOutcome['spec']>): NightIdentity {
  return {
    protocol: spec.protocolDigest,
    device: spec.compute.device,
    float: spec.against?.digest ?? null,
    reference: spec.reference?.digest ?? null,
  };
}

function metricOf(
  score: Score,
  pipeline: string,
  identity: NightIdentity,
  before: readonly NightRecord[],
  { night, digest }: JudgedNight,
): NightMetric {
  const { name, metric, against, unit, better, value, low, high, floor } = score;
  const matters = {
    ...{ name, against, protocol: identity.protocol, device: identity.device },
    float: against === 'float' ? identity.float : null,
    reference: against === 'reference' ? identity.reference : null,
  };
  const key = digest(canonicalJson(matters));
  const shared = { metric, against, name, key, unit, better, value, low, high, floor };
  const unjudged = { ...shared, baseline: null, baselineNights: 0, threshold: null };
  if (value === null) return { ...unjudged, verdict: 'learning', note: score.notes[0] ?? 'it has no value' };
  if (better === null) return { ...unjudged, verdict: 'learning', note: 'neither more nor less of it is better' };
  const points = pointsOf(before, pipeline, key);
  const absolute = night.baseline.absolute[metric] ?? ABSOLUTE_THRESHOLDS[metric] ?? 0;
  const tonight: NightPoint = { at: '9999', value, verdict: 'learning' };
  const judgement = judgeScore([...points, tonight], better, night.baseline, absolute);
  const note = points.length === 0 ? newBaseline(before, pipeline, identity, shared) : '';
  return { ...shared, ...judgement, note };
}

/** Earlier nights of a score with equal key. */
function pointsOf(before: readonly NightRecord[], pipeline: string, key: string): NightPoint[] {
  return before
    .filter(({ late }) => !late)
    .flatMap(({ at, pipelines }) => {
      const metrics = pipelines.filter(({ name }) => name === pipeline).flatMap((entry) => entry.metrics);
      const found = metrics.find((metric) => metric.key === key);
      return found === undefined || found.value === null ? [] : [{ at, value: found.value, verdict: found.verdict }];
    });
}

/** Why a score starts anew, although the pipeline had nights before. */
function newBaseline(
  before: readonly NightRecord[],
  pipeline: string,
  identity: NightIdentity,
  { name, metric, against }: Pick<NightMetric, 'name' | 'metric' | 'against'>,
): string {
  const entries = before.flatMap(({ pipelines }) => pipelines.filter((entry) => entry.name === pipeline));
  const last = entries.filter((entry) => entry.identity !== null).at(-1);
  if (last?.identity === undefined || last.identity === null) return '';
  const then = last.identity;
  const old = last.metrics.find((entry) => entry.metric === metric && entry.against === against);
  const changed = (['protocol', 'device', 'float', 'reference'] as const).filter((key) => then[key] !== identity[key]);
  const names: string[] = changed.map((key) => (key === 'float' ? 'float model' : key));
  if (names.length === 0 && old !== undefined && old.name !== name) names.push('extractor or number of pictures');
  return names.length === 0 ? '' : `a new baseline: other ${names.join(', ')}`;
}
