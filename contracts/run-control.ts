import { z } from 'zod';
import type { StageDecision } from './stage-decision.js';

/** What a person may do to a run while it lives: names on the wire, answers, and what a run may be started with. */

/** Updates. Both are refused, with a message, for a run that is so already. */
export const PAUSE_UPDATE = 'pause';
export const RESUME_UPDATE = 'resume';
/** Query: why each stage was run or reused. */
export const DECISIONS_QUERY = 'decisions';

/** Values of the search attribute NibbleState; a run that was never paused has none. */
export const RUN_STATES = { paused: 'paused', running: 'running' } as const;
/** Member of a run's memo that lists show: how good it came out, in a few words. */
export const HEADLINE_MEMO = 'headline';

/** Answer of both updates. */
export interface ControlState {
  readonly paused: boolean;
  /** When it was paused, ISO 8601; null when it is not. */
  readonly since: string | null;
  /** Rows that stopped in their middle, or go on. */
  readonly stages: readonly string[];
}

/** Third argument of the workflows; absent: nothing is computed again. */
export const startOptionsSchema = z
  .strictObject({
    recompute: z
      .strictObject({
        /** Rows whose stored results are not used. */
        stages: z.array(z.string()).min(1),
        /** Names this request: a second attempt finds what the first one made. */
        request: z.string().min(1),
      })
      .nullable()
      .default(null),
  })
  .prefault({});
export type StartOptions = z.output<typeof startOptionsSchema>;

/** What was decided for the activities of one row. */
export interface RowDecisions {
  readonly reused: number;
  readonly run: number;
  /** Of those that were computed again: how many gave the stored bytes, how many others. */
  readonly equal: number;
  readonly different: number;
  /** One of each reason; the first few. */
  readonly examples: readonly StageDecision[];
}

/** Answer of the `decisions` query: by row. */
export type RunDecisions = Readonly<Record<string, RowDecisions>>;
