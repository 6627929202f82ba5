import { z } from 'zod';
import { artifactRefSchema } from './artifact.js';
import { recipeSchema } from './recipe.js';
import { relativePathSchema } from './relative-path.js';
import type { StageDecision } from './stage-decision.js';

/** The phases of a run, in order. Each is one activity (report and publish share the last). */
export const STAGES = [
  'import',
  'plan',
  'sample',
  'transform',
  'arrange',
  'observe',
  'sensitivity',
  'mixed-precision',
  'round',
  'correct',
  'reconstruct',
  'finetune',
  'convert',
  'evaluate',
  'report',
  // of the evaluation of a folder
  'import-reference',
  'pictures',
  'features',
  'compare',
  'latency',
  'score',
  // of a sweep: a whole run
  'quantize',
] as const;
export type Stage = (typeof STAGES)[number];

/** Stages of the evaluation of a folder that are parts of a run's stage `evaluate`: one row tells of all of them. */
export const PARTS_OF_EVALUATE: ReadonlySet<Stage> = new Set<Stage>(['pictures', 'features', 'compare', 'score']);

/** Where heavy stages compute. */
export const computeSchema = z.strictObject({
  device: z.enum(['cpu', 'webgpu', 'cuda']).default('cpu'),
  /** Intra-op threads of the engine child. */
  threads: z.number().int().min(1).max(256),
});
export type Compute = z.output<typeof computeSchema>;

/** What `quantizePipeline` is started with. Everything is resolved: no defaults are applied later. */
export const runSpecSchema = z.strictObject({
  /** Absolute path of the pipeline folder, on the host that the run was started on. */
  source: z.string(),
  /** Digest of the folder's files at submission; the import refuses a folder that changed since. */
  sourceDigest: z.string(),
  pipelineName: z.string(),
  recipe: recipeSchema,
  /** Absolute path of the output folder. */
  out: z.string(),
  compute: computeSchema,
  /** Prompts resolved by the CLI and stored as an artifact-sized list would not fit: kept in the store. */
  prompts: artifactRefSchema.nullable(),
});
export type RunSpec = z.output<typeof runSpecSchema>;

/** A pipeline folder in the store: relative paths (posix) with the bytes' refs. */
export const pipelineManifestSchema = z.strictObject({
  schemaVersion: z.literal(1),
  name: z.string(),
  files: z.array(z.strictObject({ path: relativePathSchema, ref: artifactRefSchema })),
});
export type PipelineManifest = z.infer<typeof pipelineManifestSchema>;

/** Every stage result says whether the work was done now or found in the store. */
export interface StageOutcome {
  readonly reused: boolean;
  /** One line for people: what came out, in numbers (≤ 200 characters). */
  readonly summary: string;
  /** Seconds of work (0 when reused). */
  readonly seconds: number;
  /** Seconds of the work that made it, also when it is reused. The stage frame sets it. */
  readonly workSeconds?: number;
  /** Why it was computed or not. The stage frame sets it. */
  readonly decision?: StageDecision;
}

/** Progress inside a stage; heartbeat details and the CLI's live line. */
export const progressSchema = z.strictObject({
  stage: z.enum(STAGES),
  done: z.number(),
  total: z.number(),
  unit: z.string(),
  /** Items per second over the last half minute. */
  rate: z.number().nullable(),
  etaSeconds: z.number().nullable(),
  note: z.string().max(200),
  /** What an earlier attempt's checkpoint held, in units: this attempt goes on from there. null: from the start. */
  resumedAt: z.number().nullable(),
  checkpoint: artifactRefSchema.nullable(),
});
export type Progress = z.infer<typeof progressSchema>;
