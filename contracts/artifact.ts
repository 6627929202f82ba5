import { z } from 'zod';

/** What an artifact holds; one kind per arrow of the pipeline. */
export const ARTIFACT_KINDS = [
  'pipeline', // JSON: the files of a pipeline folder with their digests (contracts/stages.ts: PipelineManifest)
  'file', // bytes of one file of a pipeline folder
  'plan', // JSON: QuantizationPlan
  'calibration', // safetensors: x_t, t, conditioning, float outputs
  'graph', // ONNX: the transformed denoiser, float
  'stats', // safetensors: ActivationStats
  'sensitivity', // JSON: what each layer does to the network alone
  'parameters', // safetensors: QuantizedParameters (rounded or tuned)
  'blocks', // JSON: Block[] of a planned graph
  'block-data', // safetensors: what enters and leaves a block, float16 where that can hold it
  'trained-block', // safetensors: what a block's reconstruction learned
  'features', // safetensors: what an extractor says about up to 512 pictures
  'feature-set', // JSON: the features of a whole set, by reference (contracts/feature-set-manifest.ts)
  'trajectories', // safetensors: latents along float trajectories, or how far others are from them
  'images', // safetensors: uint8 NHWC, or one tensor of bytes for each PNG
  'shards', // JSON ArtifactRef[]: one kind of artifact of every shard of a set, in order
  'scores', // JSON
  'comparison', // JSON: denoiser against denoiser
  'report', // HTML
  'checkpoint', // safetensors; not kept after its stage ended
] as const;

export const artifactRefSchema = z.object({
  kind: z.enum(ARTIFACT_KINDS),
  /** sha256 of the bytes, hex. */
  digest: z.string().regex(/^[0-9a-f]{64}$/),
  sizeBytes: z.number().int().nonnegative(),
});

/** Names stored bytes; all that ever crosses a workflow boundary. */
export type ArtifactRef = z.infer<typeof artifactRefSchema>;
export type ArtifactKind = ArtifactRef['kind'];
