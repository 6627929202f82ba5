import { z } from 'zod';
import { SCORE_SIDES } from './score.js';

/**
 * What is kept of a night in the store, for good: the server forgets its runs after the retention time. One file per night.
 */

/** From the best to the one that decides for all. */
export const NIGHT_VERDICTS = [
  'steady', // within the thresholds of the baseline
  'improved', // better than the baseline by both thresholds, in two of the last three nights
  'learning', // too few nights to judge by
  'suspect', // worse by both thresholds, tonight alone
  'failed', // could not be evaluated
  'regression', // worse by both thresholds in two of the last three nights
] as const;
export type NightVerdict = (typeof NIGHT_VERDICTS)[number];

const verdict = z.enum(NIGHT_VERDICTS);
const time = z.iso.datetime();

/** One judged score. */
export const nightMetricSchema = z.strictObject({
  metric: z.string(),
  against: z.enum(SCORE_SIDES),
  /** Full name of the score. */
  name: z.string(),
  /** sha256 of all that must be equal for two nights to be compared. */
  key: z.string(),
  unit: z.string(),
  better: z.enum(['higher', 'lower']).nullable(),
  value: z.number().nullable(),
  low: z.number().nullable(),
  high: z.number().nullable(),
  floor: z.number().nullable(),
  /** Median of the nights it was compared with; null while learning. */
  baseline: z.number().nullable(),
  /** Nights behind the median. */
  baselineNights: z.number().int().nonnegative(),
  /** The least that counts as worse, in the metric's unit; null while learning. */
  threshold: z.number().nullable(),
  verdict,
  /** For example why a new baseline began; empty when there is nothing to say. */
  note: z.string(),
});
export type NightMetric = z.output<typeof nightMetricSchema>;

/** What scores of two nights must have in common. */
const identitySchema = z.strictObject({
  protocol: z.string(),
  device: z.string(),
  float: z.string().nullable(),
  reference: z.string().nullable(),
});
export type NightIdentity = z.output<typeof identitySchema>;

const nightPipelineSchema = z.strictObject({
  name: z.string(),
  verdict,
  /** Why it could not be evaluated. */
  failure: z.strictObject({ kind: z.string(), message: z.string() }).nullable(),
  workflowId: z.string().nullable(),
  /** Digest of the folder that night. */
  candidate: z.string().nullable(),
  report: z.string().nullable(),
  identity: identitySchema.nullable(),
  metrics: z.array(nightMetricSchema),
});
export type NightPipeline = z.output<typeof nightPipelineSchema>;

/** What the server's schedule had counted by then. */
const scheduleCountsSchema = z.strictObject({
  /** Nights that came due while the server was down for longer than the catch-up window. */
  missed: z.number().int().nonnegative(),
  /** Nights that came due while the one before still ran. */
  skipped: z.number().int().nonnegative(),
});
export type ScheduleCounts = z.output<typeof scheduleCountsSchema>;

export const nightRecordSchema = z.strictObject({
  schemaVersion: z.literal(1),
  night: z.string(),
  /** When it was due. */
  at: time,
  startedAt: time,
  workflowId: z.string(),
  runId: z.string(),
  /**
   * Run so long after it was due that it says nothing of that day (a backfill): shown, but no part of baselines and alarms.
   */
  late: z.boolean(),
  verdict,
  pipelines: z.array(nightPipelineSchema),
  /** null: not started by a schedule, or it is gone. */
  counts: scheduleCountsSchema.nullable(),
  /** Since the night before. */
  missed: z.number().int().nonnegative(),
  skipped: z.number().int().nonnegative(),
  /** Times since the night before at which a night was due and none ran. */
  absent: z.array(time),
});
export type NightRecord = z.output<typeof nightRecordSchema>;

/** The verdict that decides for all. */
export function worstVerdict(verdicts: readonly NightVerdict[]): NightVerdict {
  return verdicts.reduce(
    (worst, each) => (NIGHT_VERDICTS.indexOf(each) > NIGHT_VERDICTS.indexOf(worst) ? each : worst),
    'steady' as NightVerdict,
  );
}
