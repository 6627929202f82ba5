import { z } from 'zod';
import { type ArtifactRef, artifactRefSchema } from './artifact.js';
import type { EvaluationActivities } from './evaluation-activities.js';
import { type LayerRole, recipeSchema } from './recipe.js';
import type { ReconstructionActivities } from './reconstruction-activities.js';
import { computeSchema, runSpecSchema, type StageOutcome } from './stages.js';
import type { SweepActivities } from './sweep.js';

/**
 * Inputs and results of every activity, as the workflow sees them. Inputs are parsed at the activity's entry; results are
 * references and small numbers. Activity names are wire format: renaming one breaks running workflows.
 */

const ref = artifactRefSchema;

// import · cpu
export const importPipelineInputSchema = z.strictObject({ spec: runSpecSchema });
export interface ImportPipelineResult extends StageOutcome {
  readonly pipeline: ArtifactRef; // kind pipeline
  readonly prompts: ArtifactRef; // kind file: JSON PromptSets
}

// plan · cpu
export const planQuantizationInputSchema = z.strictObject({ pipeline: ref, prompts: ref, recipe: recipeSchema });
export interface PlanSummary {
  readonly layers: number;
  readonly quantizedLayers: number;
  readonly skippedLayers: number;
  /** Shares 0..1 whose weight and input are both at the recipe's low bits. */
  readonly coverage: { readonly layers: number; readonly parameters: number; readonly macs: number };
  readonly floatBytes: number;
  readonly estimatedBytes: number;
}
export interface PlanQuantizationResult extends StageOutcome {
  readonly plan: ArtifactRef;
  readonly plannedSummary: PlanSummary;
}

// sample · gpu
export const sampleTrajectoriesInputSchema = z.strictObject({
  pipeline: ref,
  prompts: ref,
  recipe: recipeSchema,
  compute: computeSchema,
});
export interface SampleTrajectoriesResult extends StageOutcome {
  readonly calibration: ArtifactRef;
}

// transform · cpu
export const transformGraphInputSchema = z.strictObject({
  pipeline: ref,
  recipe: recipeSchema,
  /** For rewrites that need to have seen data. */
  calibration: ref.nullable().default(null),
});
export interface TransformGraphResult extends StageOutcome {
  readonly graph: ArtifactRef;
}

// observe · gpu
export const observeActivationsInputSchema = z.strictObject({
  graph: ref,
  plan: ref,
  calibration: ref,
  recipe: recipeSchema,
  compute: computeSchema,
});
export interface ObserveActivationsResult extends StageOutcome {
  readonly stats: ArtifactRef;
}

// sensitivity · gpu
export const measureSensitivityInputSchema = z.strictObject({
  pipeline: ref,
  graph: ref,
  plan: ref,
  stats: ref,
  calibration: ref,
  recipe: recipeSchema,
  compute: computeSchema,
});
export interface MeasureSensitivityResult extends StageOutcome {
  readonly sensitivity: ArtifactRef;
  /** Median of the layers' own relative L2 output errors at the plan's bits. */
  readonly medianError: number;
}

// arrange · gpu
export const arrangeChannelsInputSchema = z.strictObject({
  graph: ref,
  plan: ref,
  calibration: ref,
  recipe: recipeSchema,
  compute: computeSchema,
});
export interface ArrangeChannelsResult extends StageOutcome {
  /** Takes the place of the planned one. */
  readonly plan: ArtifactRef;
}

// mixed-precision · cpu
export const chooseLayerBitsInputSchema = z.strictObject({ plan: ref, sensitivity: ref, recipe: recipeSchema });
export interface ChooseLayerBitsResult extends StageOutcome {
  /** Takes the place of the plan that it was made from. */
  readonly plan: ArtifactRef;
  readonly plannedSummary: PlanSummary;
}

// round · cpu
export const roundWeightsInputSchema = z.strictObject({ graph: ref, plan: ref, stats: ref, recipe: recipeSchema });
export interface RoundWeightsResult extends StageOutcome {
  readonly parameters: ArtifactRef;
}

// correct · gpu
export const correctParametersInputSchema = z.strictObject({
  graph: ref,
  plan: ref,
  calibration: ref,
  parameters: ref,
  recipe: recipeSchema,
  compute: computeSchema,
});
export interface CorrectParametersResult extends StageOutcome {
  readonly parameters: ArtifactRef;
  /** Float side branches: how many layers have one, their share of the denoiser's multiply-adds, their bytes. */
  readonly branches: { readonly layers: number; readonly macs: number; readonly bytes: number } | null;
}

// finetune · gpu
export const finetuneParametersInputSchema = z.strictObject({
  graph: ref,
  plan: ref,
  calibration: ref,
  parameters: ref,
  recipe: recipeSchema,
  compute: computeSchema,
});
export interface FinetuneParametersResult extends StageOutcome {
  readonly parameters: ArtifactRef;
  /** Relative MSE of the network output on held-back prompts, before and after. */
  readonly validation: { readonly before: number; readonly after: number };
  /** The same on a fixed sample of the training prompts. */
  readonly training: { readonly before: number; readonly after: number };
  readonly steps: number;
}

// convert · cpu
export const convertPipelineInputSchema = z.strictObject({
  pipeline: ref,
  graph: ref,
  plan: ref,
  parameters: ref,
  recipe: recipeSchema,
});
export interface ConvertPipelineResult extends StageOutcome {
  readonly pipeline: ArtifactRef; // kind pipeline: the quantized folder's model files
  readonly denoiserBytes: number;
  readonly floatDenoiserBytes: number;
}

// report · cpu
export const renderReportInputSchema = z.strictObject({
  spec: runSpecSchema,
  workflowId: z.string(),
  runId: z.string(),
  artifacts: z.record(z.string(), ref),
  /** Headlines, validation errors and stage outcomes, as collected by the workflow. */
  summary: z.unknown(),
});
export interface RenderReportResult extends StageOutcome {
  readonly out: string;
  readonly report: string;
  readonly reportRef: ArtifactRef;
}

/** The activities by name; `Activities[name]` is what the workflow proxies. */
export interface Activities extends ReconstructionActivities, EvaluationActivities, SweepActivities {
  importPipeline(input: z.input<typeof importPipelineInputSchema>): Promise<ImportPipelineResult>;
  planQuantization(input: z.input<typeof planQuantizationInputSchema>): Promise<PlanQuantizationResult>;
  sampleTrajectories(input: z.input<typeof sampleTrajectoriesInputSchema>): Promise<SampleTrajectoriesResult>;
  transformGraph(input: z.input<typeof transformGraphInputSchema>): Promise<TransformGraphResult>;
  observeActivations(input: z.input<typeof observeActivationsInputSchema>): Promise<ObserveActivationsResult>;
  measureSensitivity(input: z.input<typeof measureSensitivityInputSchema>): Promise<MeasureSensitivityResult>;
  arrangeChannels(input: z.input<typeof arrangeChannelsInputSchema>): Promise<ArrangeChannelsResult>;
  chooseLayerBits(input: z.input<typeof chooseLayerBitsInputSchema>): Promise<ChooseLayerBitsResult>;
  roundWeights(input: z.input<typeof roundWeightsInputSchema>): Promise<RoundWeightsResult>;
  correctParameters(input: z.input<typeof correctParametersInputSchema>): Promise<CorrectParametersResult>;
  finetuneParameters(input: z.input<typeof finetuneParametersInputSchema>): Promise<FinetuneParametersResult>;
  convertPipeline(input: z.input<typeof convertPipelineInputSchema>): Promise<ConvertPipelineResult>;
  renderReport(input: z.input<typeof renderReportInputSchema>): Promise<RenderReportResult>;
}

/** JSON in the `prompts` artifact: texts are disjoint (checked by the plan). Empty texts for unconditional models. */
export interface PromptSets {
  readonly calibration: readonly string[];
  readonly evaluation: readonly string[];
}

/** Which role a layer plays, for tables. */
export type { LayerRole };
