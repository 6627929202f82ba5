import type { CorrectParametersResult, FinetuneParametersResult, PlanSummary } from './activities.js';
import type { ArtifactRef } from './artifact.js';
import type { GateVerdict } from './sensitivity-gate.js';
import type { Stage } from './stages.js';

/**
 * What a run tells about itself: answered by the workflow's `progress` and `summary` queries, returned as its result and
 * printed by `--output json`.
 */

/** One activity of a run, in the order of execution. `id` is unique: evaluation and conversion may happen twice. */
export interface StageRow {
  readonly id: string;
  readonly stage: Stage;
  readonly title: string;
  readonly state: 'pending' | 'running' | 'paused' | 'done' | 'reused' | 'failed';
  /** What came out, in one line; empty until it is done. */
  readonly summary: string;
  readonly seconds: number;
  /** Seconds of the work that made it, also when it is reused; absent until it is done. */
  readonly workSeconds?: number;
}

/** The numbers of one evaluation that stand side by side with those of others; null: not measured, or not finite. */
export interface EvaluationHeadline {
  readonly label: string;
  readonly psnrDb: number;
  readonly ssim: number | null;
  readonly latentSqnrDb: number | null;
  readonly frechetToFloat: number | null;
  readonly frechetToReference: number | null;
  /** Σ(y − ŷ)² / Σy² of the denoiser on float trajectories; null for the noise floor. */
  readonly denoiserRelativeMse: number | null;
}

/** What the evaluations of a run are called, by the id of their stage. */
export function evaluationLabel(id: 'evaluate-floor' | 'evaluate-before' | 'evaluate', finetunes: boolean): string {
  if (id === 'evaluate-floor') return 'noise floor (float, other seeds)';
  if (id === 'evaluate-before') return 'before finetuning';
  return finetunes ? 'finetuned' : 'quantized';
}

/** Answer of the `progress` query. Rates inside a stage are in the heartbeat details of its activity. */
export interface RunProgress {
  readonly schemaVersion: 1;
  /** Stages that ended. */
  readonly done: number;
  readonly total: number;
  readonly stages: readonly StageRow[];
  /** When the run was paused, ISO 8601; null or absent while it is not. */
  readonly pausedSince?: string | null;
}

/** Where and how well: the result of `quantizePipeline`. */
export interface RunSummary {
  readonly schemaVersion: 1;
  readonly workflowId: string;
  readonly runId: string;
  readonly pipeline: string;
  readonly recipe: string;
  readonly device: string;
  readonly out: string;
  /** Path of the HTML report; null until the run has ended. */
  readonly report: string | null;
  readonly reused: number;
  readonly total: number;
  readonly stages: readonly StageRow[];
  readonly plan: PlanSummary | null;
  /** What the layers' own errors say about the run: one line, null when they were not measured. */
  readonly gate: { readonly medianError: number; readonly verdict: GateVerdict; readonly text: string } | null;
  /** Float side branches of low rank. */
  readonly branches: CorrectParametersResult['branches'];
  readonly validation: FinetuneParametersResult['validation'] | null;
  readonly training: FinetuneParametersResult['training'] | null;
  readonly denoiserBytes: number | null;
  readonly floatDenoiserBytes: number | null;
  /** Pictures behind each evaluation. */
  readonly samples: number;
  /** Noise floor, before finetuning (when asked for), shipped. */
  readonly scores: readonly EvaluationHeadline[];
  readonly artifacts: Readonly<Record<string, ArtifactRef>>;
}

/** Names of the workflow, its queries and search attributes: wire format. */
export const QUANTIZE_WORKFLOW = 'quantizePipeline';
export const PROGRESS_QUERY = 'progress';
export const SUMMARY_QUERY = 'summary';
export const SEARCH_ATTRIBUTES = {
  NibbleModel: 'Keyword',
  NibbleRecipe: 'Keyword',
  NibbleStage: 'Keyword',
  NibbleVerdict: 'Keyword',
  NibbleState: 'Keyword',
  NibbleWeightBits: 'Int',
  NibbleActivationBits: 'Int',
} as const;
