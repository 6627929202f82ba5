import { z } from 'zod';
import type { ArtifactRef } from './artifact.js';
import type { EvaluationHeadline, StageRow } from './run-summary.js';
import { runSpecSchema, type StageOutcome } from './stages.js';

/**
 * A sweep quantizes one pipeline several times: every recipe with every combination of settings. Each cell is an ordinary
 * run, a child of the sweep, with the id that `quantize` would give it.
 */

/** More cells are a mistake in the command line, and their specs would not fit in one payload. */
export const MOST_CELLS = 64;

/** What `sweepRecipes` is started with. */
export const sweepSpecSchema = z.strictObject({
  pipelineName: z.string(),
  /** Absolute folder of the page; each cell's pipeline lies in a folder of its own below it. */
  out: z.string(),
  /** Cells that run at the same time. */
  parallel: z.number().int().min(1).max(64),
  cells: z
    .array(z.strictObject({ name: z.string(), workflowId: z.string(), spec: runSpecSchema }))
    .min(1)
    .max(MOST_CELLS),
});
export type SweepSpec = z.output<typeof sweepSpecSchema>;

/** What one run came to. */
export interface SweepCell {
  readonly name: string;
  readonly recipe: string;
  readonly workflowId: string;
  readonly out: string;
  readonly state: 'pending' | 'running' | 'done' | 'failed';
  /** Why it failed; empty otherwise. */
  readonly message: string;
  /** Scores of the shipped pipeline; null until it is done. */
  readonly headline: EvaluationHeadline | null;
  readonly denoiserBytes: number | null;
  readonly floatDenoiserBytes: number | null;
  /** Seconds of work of every stage that made the pipeline, evaluations left out; also of stages that were reused. */
  readonly workSeconds: number | null;
}

/** The result of `sweepRecipes` and the answer to its `summary` query. */
export interface SweepSummary {
  readonly schemaVersion: 1;
  readonly kind: 'sweep';
  readonly workflowId: string;
  readonly runId: string;
  readonly pipeline: string;
  readonly out: string;
  readonly samples: number;
  /** Path of the page; null until every cell has ended. */
  readonly report: string | null;
  readonly stages: readonly StageRow[];
  readonly cells: readonly SweepCell[];
  /** Names of the cells that no other cell beats in quality, size and minutes at once, in the order of `cells`. */
  readonly front: readonly string[];
}

export const SWEEP_WORKFLOW = 'sweepRecipes';

const cellSchema = z.custom<SweepCell>((value) => typeof value === 'object' && value !== null);

// report of a sweep · cpu
export const renderSweepInputSchema = z.strictObject({
  workflowId: z.string(),
  runId: z.string(),
  pipelineName: z.string(),
  out: z.string(),
  parallel: z.number().int(),
  samples: z.number().int(),
  cells: z.array(cellSchema),
});
export interface RenderSweepResult extends StageOutcome {
  readonly report: string;
  readonly reportRef: ArtifactRef;
  readonly front: string[];
}

export interface SweepActivities {
  renderSweep(input: z.input<typeof renderSweepInputSchema>): Promise<RenderSweepResult>;
}
