import { z } from 'zod';
import { type ArtifactRef, artifactRefSchema } from './artifact.js';
import { type Protocol, protocolSchema } from './protocol.js';
import { recipeSchema } from './recipe.js';
import type { EvaluationHeadline, StageRow } from './run-summary.js';
import type { Score } from './score.js';
import { computeSchema, type StageOutcome } from './stages.js';

/**
 * The evaluation of a pipeline folder: what the workflow is started with, what its activities take and give, what it tells.
 *
 *   import → (float, candidate and noise-floor pictures, shard by shard → features) → compare → latency → score → report
 */

const ref = artifactRefSchema;

/** Pictures per shard: bounded, so that a shard fits in memory, and whole sampling batches, so that shards change no picture. */
export const SHARD_SIZES = { least: 64, most: 256, of: 8 } as const;

/** A pipeline folder on the host that the evaluation was started on, as it was then. */
const folderSchema = z.strictObject({
  path: z.string(),
  digest: z.string(),
  name: z.string(),
});

/** Pictures or statistics that all sets are also measured against. */
const referenceSchema = z.strictObject({
  kind: z.enum(['pictures', 'statistics']),
  path: z.string(),
  name: z.string(),
  /** sha256 of the file, or of names and contents of the folder's files. */
  digest: z.string(),
});

/** An extractor's folder, the sha256 of its model, and that of what its description says of inputs, outputs, layers and texts. */
const extractorSchema = z.strictObject({
  name: z.string(),
  folder: z.string(),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  description: z.string().regex(/^[0-9a-f]{64}$/),
  /** Its two files in the store, for hosts that do not have the folder; null where the store is not shared. */
  files: z.strictObject({ description: ref, model: ref }).nullable().default(null),
});

/** What a reader of scores must know: `float` concerns what is measured against the float pipeline alone. */
const noteSchema = z.strictObject({ about: z.enum(['all', 'float']), text: z.string() });
export type EvaluationNote = z.output<typeof noteSchema>;

/** What `evaluatePipeline` is started with. Everything is resolved: no defaults are applied later. */
export const evaluationSpecSchema = z.strictObject({
  candidate: folderSchema,
  /** The float pipeline of the same prompts and seeds; null: the candidate is measured alone. */
  against: folderSchema.nullable(),
  reference: referenceSchema.nullable(),
  /** `sampling.guidance` is a number here. */
  protocol: protocolSchema,
  /** sha256 of protocol, extractor and prompts. */
  protocolDigest: z.string().regex(/^[0-9a-f]{64}$/),
  extractor: extractorSchema,
  /** Evaluation prompts in order: JSON string[], as many as samples. */
  prompts: ref,
  /** Found out before the evaluation was started. */
  notes: z.array(noteSchema).default([]),
  out: z.string(),
  compute: computeSchema,
});
export type EvaluationSpec = z.output<typeof evaluationSpecSchema>;

// plan-evaluation · cpu
export const planEvaluationInputSchema = z.strictObject({
  /** The float pipeline. */
  pipeline: ref,
  /** JSON: PromptSets. */
  prompts: ref,
  recipe: recipeSchema,
});
/** The evaluations of a quantization, as a protocol. */
export interface PlanEvaluationResult extends StageOutcome {
  readonly settings: Protocol;
  readonly protocolDigest: string;
  readonly extractor: EvaluationSpec['extractor'];
  /** JSON: string[] of the evaluation's prompts. */
  readonly texts: ArtifactRef;
  /** What protocol.json of the output folder holds. */
  readonly protocol: ArtifactRef;
  /** Feature set of the reference that the pipeline brings along; null: it brings none. */
  readonly reference: ArtifactRef | null;
}

// import-folder · cpu
export const importFolderInputSchema = z.strictObject({ folder: folderSchema });
export interface ImportFolderResult extends StageOutcome {
  readonly pipeline: ArtifactRef;
}

// import-reference · gpu
export const importReferenceInputSchema = z.strictObject({
  reference: referenceSchema,
  extractor: extractorSchema,
  resize: protocolSchema.shape.resize,
  compute: computeSchema,
});
export interface ImportReferenceResult extends StageOutcome {
  /** A feature set; null for statistics without rows. */
  readonly features: ArtifactRef | null;
  /** The statistics file; null for pictures. */
  readonly statistics: ArtifactRef | null;
  readonly n: number | null;
  /** JPEG, other sizes, provenance unknown … */
  readonly notes: readonly string[];
}

/** What of a protocol decides a shard. */
const samplingSchema = z.strictObject({
  samples: z.number().int().positive(),
  seed: z.number().int().nonnegative(),
  steps: z.number().int().positive(),
  guidance: z.number(),
  images: protocolSchema.shape.images,
  /** Pictures from the first on whose latents are kept or compared. */
  trajectories: z.number().int().nonnegative(),
  timestepPairs: z.number().int().positive(),
});
export type ShardSampling = z.output<typeof samplingSchema>;

// sample-shard · gpu
export const sampleShardInputSchema = z.strictObject({
  pipeline: ref,
  prompts: ref,
  sampling: samplingSchema,
  /** Pictures first … end − 1. */
  first: z.number().int().nonnegative(),
  end: z.number().int().positive(),
  /** Trajectories of the float shard to compare with; null: this is one, and its trajectories are kept. */
  against: ref.nullable(),
  compute: computeSchema,
});
export interface SampleShardResult extends StageOutcome {
  readonly images: ArtifactRef;
  /** Of a float shard: latents and calls of the denoiser; of another: how far it is from the float one. Safetensors. */
  readonly trajectories: ArtifactRef;
}

// extract-shard · gpu
export const extractShardInputSchema = z.strictObject({
  images: ref,
  extractor: extractorSchema,
  resize: protocolSchema.shape.resize,
  compute: computeSchema,
});
export interface ExtractShardResult extends StageOutcome {
  readonly features: ArtifactRef;
}

// list-shards · cpu
export const listShardsInputSchema = z.strictObject({ shards: z.array(ref).min(1) });
export interface ListShardsResult extends StageOutcome {
  /** JSON ArtifactRef[]. */
  readonly list: ArtifactRef;
}

// compare-denoisers · gpu
export const compareDenoisersInputSchema = z.strictObject({
  reference: ref,
  candidate: ref,
  prompts: ref,
  sampling: samplingSchema,
  /** Of the float shards, in order. */
  trajectories: z.array(ref),
  /** Whether layers are compared, too. */
  inside: z
    .strictObject({
      /** Names the layers; null: every layer there is. */
      recipe: recipeSchema.nullable(),
      /** Calls of each timestep whose activations are counted; null: all. */
      driftCalls: z.number().int().positive().nullable(),
    })
    .nullable(),
  compute: computeSchema,
});
export interface CompareDenoisersResult extends StageOutcome {
  /** JSON: DenoiserComparison. */
  readonly comparison: ArtifactRef;
  /** What ran: the shipped file, or its arithmetic in float operators. */
  readonly arithmetic: 'shipped' | 'shipped-in-float';
}

// measure-latency · gpu
export const measureLatencyInputSchema = z.strictObject({
  reference: ref.nullable(),
  candidate: ref,
  compute: computeSchema,
});
export interface MeasureLatencyResult extends StageOutcome {
  /** JSON: LatencyData. */
  readonly latency: ArtifactRef;
}

/** One sampled set: lists of its shards' artifacts (kind shards), since 50,000 pictures have hundreds of shards. */
const sampledSetSchema = z.strictObject({ images: ref, trajectories: ref, features: ref });
export type SampledSetRefs = z.output<typeof sampledSetSchema>;

// score-sets · gpu
export const scoreEvaluationInputSchema = z.strictObject({
  protocol: protocolSchema,
  protocolDigest: z.string(),
  extractor: extractorSchema,
  prompts: ref,
  /** What is evaluated. */
  candidate: sampledSetSchema,
  /** Same seeds; null: there is no float pipeline. */
  float: sampledSetSchema.nullable(),
  /** The float pipeline (else the candidate) with the next seed; null: no floor stands beside the scores. */
  floor: sampledSetSchema.nullable(),
  reference: z
    .strictObject({ features: ref.nullable(), statistics: ref.nullable(), notes: z.array(z.string()) })
    .nullable(),
  comparison: ref.nullable(),
  notes: z.array(noteSchema).default([]),
  compute: computeSchema,
});
export interface ScoreEvaluationResult extends StageOutcome {
  /** JSON: Score[]. */
  readonly scores: ArtifactRef;
  /** JSON: EvaluationDetails. */
  readonly details: ArtifactRef;
  /** null without a float pipeline. */
  readonly headline: Omit<EvaluationHeadline, 'label'> | null;
}

// render-evaluation · cpu
export const renderEvaluationInputSchema = z.strictObject({
  spec: evaluationSpecSchema,
  workflowId: z.string(),
  runId: z.string(),
  candidatePipeline: ref,
  floatPipeline: ref.nullable(),
  /** Kind shards. */
  candidateImages: ref,
  floatImages: ref.nullable(),
  scores: ref,
  details: ref,
  comparison: ref.nullable(),
  latency: ref.nullable(),
  notes: z.array(z.string()),
  stages: z.array(z.unknown()),
});
export interface RenderEvaluationResult extends StageOutcome {
  readonly out: string;
  readonly report: string;
  /** What scores.json holds. */
  readonly list: readonly Score[];
}

export interface EvaluationActivities {
  planEvaluation(input: z.input<typeof planEvaluationInputSchema>): Promise<PlanEvaluationResult>;
  importFolder(input: z.input<typeof importFolderInputSchema>): Promise<ImportFolderResult>;
  importReference(input: z.input<typeof importReferenceInputSchema>): Promise<ImportReferenceResult>;
  sampleShard(input: z.input<typeof sampleShardInputSchema>): Promise<SampleShardResult>;
  extractShard(input: z.input<typeof extractShardInputSchema>): Promise<ExtractShardResult>;
  listShards(input: z.input<typeof listShardsInputSchema>): Promise<ListShardsResult>;
  compareDenoisers(input: z.input<typeof compareDenoisersInputSchema>): Promise<CompareDenoisersResult>;
  measureLatency(input: z.input<typeof measureLatencyInputSchema>): Promise<MeasureLatencyResult>;
  scoreEvaluation(input: z.input<typeof scoreEvaluationInputSchema>): Promise<ScoreEvaluationResult>;
  renderEvaluation(input: z.input<typeof renderEvaluationInputSchema>): Promise<RenderEvaluationResult>;
}

/** Answer of the `summary` query, and the result of `evaluatePipeline`. */
export interface EvaluationSummary {
  readonly schemaVersion: 1;
  readonly kind: 'evaluation';
  readonly workflowId: string;
  readonly runId: string;
  readonly pipeline: string;
  /** Name of the float pipeline; null when there is none. */
  readonly against: string | null;
  readonly protocol: string;
  readonly protocolDigest: string;
  readonly device: string;
  readonly samples: number;
  readonly out: string;
  /** Path of the HTML report; null until the run has ended. */
  readonly report: string | null;
  readonly reused: number;
  readonly total: number;
  readonly stages: readonly StageRow[];
  /** Empty until they are computed. */
  readonly scores: readonly Score[];
}

export const EVALUATE_WORKFLOW = 'evaluatePipeline';
