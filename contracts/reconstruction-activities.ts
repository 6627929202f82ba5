import { z } from 'zod';
import { type ArtifactRef, artifactRefSchema } from './artifact.js';
import { recipeSchema } from './recipe.js';
import { computeSchema, type StageOutcome } from './stages.js';

/** The activities of the stage `reconstruct`: cut once, then wave by wave capture, reconstruct each block, merge. */

const ref = artifactRefSchema;

// reconstruct · cpu
export const cutBlocksInputSchema = z.strictObject({ pipeline: ref, graph: ref, plan: ref });
export interface CutBlocksResult extends StageOutcome {
  readonly blocks: ArtifactRef; // JSON: Block[] in network order
  readonly count: number;
}

// reconstruct · gpu
export const captureBlocksInputSchema = z.strictObject({
  graph: ref,
  plan: ref,
  calibration: ref,
  /** What the quantized network is made of. */
  parameters: ref,
  blocks: ref,
  /** Blocks [from, to). */
  from: z.number().int().nonnegative(),
  to: z.number().int().positive(),
  recipe: recipeSchema,
  compute: computeSchema,
});
export interface CaptureBlocksResult extends StageOutcome {
  /** What enters and leaves each of the blocks. */
  readonly data: readonly ArtifactRef[];
}

// reconstruct · gpu
export const reconstructBlockInputSchema = z.strictObject({
  graph: ref,
  plan: ref,
  parameters: ref,
  blocks: ref,
  /** Which of the blocks. */
  block: z.number().int().nonnegative(),
  data: ref,
  recipe: recipeSchema,
  compute: computeSchema,
});
export interface ReconstructBlockResult extends StageOutcome {
  readonly trained: ArtifactRef;
  /** Σ(O − Õ)² / ΣO² of the block's outputs on held-back items: with the parameters that came in, and now. */
  readonly before: number;
  readonly after: number;
}

// reconstruct · cpu
export const mergeBlocksInputSchema = z.strictObject({ plan: ref, parameters: ref, trained: z.array(ref) });
export interface MergeBlocksResult extends StageOutcome {
  readonly parameters: ArtifactRef;
}

export interface ReconstructionActivities {
  cutBlocks(input: z.input<typeof cutBlocksInputSchema>): Promise<CutBlocksResult>;
  captureBlocks(input: z.input<typeof captureBlocksInputSchema>): Promise<CaptureBlocksResult>;
  reconstructBlock(input: z.input<typeof reconstructBlockInputSchema>): Promise<ReconstructBlockResult>;
  mergeBlocks(input: z.input<typeof mergeBlocksInputSchema>): Promise<MergeBlocksResult>;
}
