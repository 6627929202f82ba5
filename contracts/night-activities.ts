import { z } from 'zod';
import { type EvaluationSpec, evaluationSpecSchema } from './evaluation-activities.js';
import { type NightRecord, type NightVerdict, nightRecordSchema } from './night-record.js';
import { type NightEvent, type NightSpec, nightSpecSchema, notifySchema } from './nights.js';
import type { Protocol } from './protocol.js';
import type { StageRow } from './run-summary.js';
import { scoreSchema } from './score.js';

/**
 * The activities of a night: they look at the world as it is now, so that none of their results is kept in the cache.
 *
 *   for each pipeline: prepare → evaluatePipeline (a child workflow)  → judge → notify
 */

/** Which execution of a night this is. */
const nightRunSchema = z.strictObject({
  workflowId: z.string(),
  runId: z.string(),
  /** When it was due, and when it started. */
  at: z.iso.datetime(),
  startedAt: z.iso.datetime(),
  /** null: it was started by hand. */
  scheduleId: z.string().nullable(),
});
export type NightRun = z.output<typeof nightRunSchema>;

// prepare-night · cpu
export const prepareNightInputSchema = z.strictObject({
  night: nightSpecSchema,
  pipeline: nightSpecSchema.shape.pipelines.element,
  run: nightRunSchema,
});
export interface PrepareNightResult {
  readonly spec: EvaluationSpec;
}

const failureSchema = z.strictObject({ kind: z.string(), message: z.string() });
export type NightFailure = z.output<typeof failureSchema>;

/** An evaluation before anybody looked at its folders. */
export interface UnresolvedEvaluation {
  readonly folder: string;
  /** null: the bundled float pipeline that it was made from, if it is one. */
  readonly against: string | null;
  readonly reference: string | null;
  readonly protocol: Protocol;
  readonly compute: NightSpec['compute'];
  readonly out: string;
}

/** How the evaluation of one pipeline ended. */
export const nightOutcomeSchema = z.strictObject({
  name: z.string(),
  failure: failureSchema.nullable(),
  workflowId: z.string().nullable(),
  spec: evaluationSpecSchema.nullable(),
  report: z.string().nullable(),
  scores: z.array(scoreSchema),
});
export type NightOutcome = z.output<typeof nightOutcomeSchema>;

// judge-night · cpu
export const judgeNightInputSchema = z.strictObject({
  night: nightSpecSchema,
  run: nightRunSchema,
  outcomes: z.array(nightOutcomeSchema),
});
export interface JudgeNightResult {
  readonly record: NightRecord;
  /** What happened, whether anybody wants to hear of it or not. */
  readonly events: readonly NightEvent[];
  /** The night in lines for people. */
  readonly text: string;
}

// notify-night · cpu
export const notifyNightInputSchema = z.strictObject({
  /** One of the ways of `notify`: each is tried again alone. */
  way: z.enum(['webhook', 'command']),
  notify: notifySchema,
  record: nightRecordSchema,
  events: z.array(z.string()).min(1),
  text: z.string(),
});
export interface NotifyNightResult {
  /** `webhook answered 200`, `command ended with 0`. */
  readonly told: string;
}

export interface NightActivities {
  prepareNight(input: z.input<typeof prepareNightInputSchema>): Promise<PrepareNightResult>;
  judgeNight(input: z.input<typeof judgeNightInputSchema>): Promise<JudgeNightResult>;
  notifyNight(input: z.input<typeof notifyNightInputSchema>): Promise<NotifyNightResult>;
}

/** Answer of the `summary` query, and the result of `nightlyEvaluation`. */
export interface NightSummary {
  readonly schemaVersion: 1;
  readonly kind: 'night';
  readonly workflowId: string;
  readonly runId: string;
  readonly night: string;
  readonly at: string;
  /** null until it is judged. */
  readonly verdict: NightVerdict | null;
  readonly record: NightRecord | null;
  readonly events: readonly NightEvent[];
  /** Whether the hook was told; one line. */
  readonly notified: string;
  readonly total: number;
  readonly reused: number;
  readonly stages: readonly StageRow[];
}
