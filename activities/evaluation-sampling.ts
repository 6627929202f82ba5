import type { Recipe } from '../contracts/recipe.js';
import { samplePictures } from '../evaluation/sampling/sample-pictures.js';
import type { Runnable } from '../models/executor.js';
import type { Conditions } from '../models/pipelines/encode-conditions.js';
import { openComponent } from '../models/pipelines/open-component.js';
import type { Pipeline } from '../models/pipelines/pipeline.js';
import type { SampleStep } from '../models/pipelines/sample-latents.js';
import { startNoise, stepNoiseSeeds } from '../models/pipelines/start-noise.js';
import { createSampler } from '../models/samplers/create-sampler.js';
import { concatRows, sliceRows, type Tensor } from '../models/tensors/tensor.js';
import { BatchCheckpoints } from './batch-checkpoints.js';
import type { EngineExecutor } from './engine/engine-executor.js';
import type { StageContext } from './stage-frame.js';

/** Pictures sampled together; each batch is a checkpoint. */
export const EVALUATION_BATCH = 8;

/** Takes notes while a batch is sampled. */
export interface Collector {
  add(step: SampleStep): void;
  tensors(): Map<string, Tensor>;
}

export interface EvaluationSampling {
  readonly context: StageContext;
  readonly executor: EngineExecutor;
  readonly pipeline: Pipeline;
  /** The opened denoiser of `pipeline`. */
  readonly denoiser: Runnable;
  /** Of pictures first … end − 1. */
  readonly conditions: Conditions;
  readonly sampling: Pick<Recipe['sampling'], 'steps' | 'guidance'>;
  readonly seed: number;
  readonly first: number;
  readonly end: number;
  /** Names the checkpoints, and the work for people. */
  readonly name: string;
  readonly collector: (first: number, end: number) => Collector;
}

/**
 * Samples pictures in checkpointed batches.
 * @returns by name: `latents` and `images` of the pictures, and the parts that the collectors made, one per batch; and pictures per batch
 */
export async function sampleEvaluation(
  options: EvaluationSampling,
): Promise<{ parts: Map<string, Tensor[]>; batch: number; checkpoints: BatchCheckpoints }> {
  const { context, pipeline, executor } = options;
  const size = Math.max(1, Math.floor(EVALUATION_BATCH / context.microBatchDivisor));
  const checkpoints = new BatchCheckpoints(context, options.name, size);
  const vaeDecoder =
    pipeline.vaeDecoder === null ? null : await openComponent(executor, pipeline.files, pipeline.vaeDecoder);
  const parts = new Map<string, Tensor[]>();
  for (let first = options.first; first < options.end; first += size) {
    const end = Math.min(options.end, first + size);
    const batch = (first - options.first) / size;
    let made = await checkpoints.load(batch);
    if (made === undefined) {
      const denoiser = await checkpoints.recorded(batch, options.denoiser);
      const offer = (): Promise<void> => checkpoints.offer(batch, denoiser);
      made = await sampleBatch({ ...options, denoiser }, vaeDecoder, { first, end, offer });
      await checkpoints.save(batch, made);
    }
    for (const [name, value] of made) parts.set(name, [...(parts.get(name) ?? []), value]);
    report(options, end);
  }
  await vaeDecoder?.release();
  return { parts, batch: size, checkpoints };
}

/** Rows of all batches of one tensor. */
export function joined(parts: ReadonlyMap<string, Tensor[]>, name: string): Tensor {
  return concatRows(parts.get(name) ?? []);
}

async function sampleBatch(
  options: EvaluationSampling,
  vaeDecoder: Runnable | null,
  { first, end, offer }: { readonly first: number; readonly end: number; readonly offer: () => Promise<void> },
): Promise<Map<string, Tensor>> {
  const { pipeline, denoiser, conditions, sampling, seed } = options;
  const sampler = createSampler(pipeline.schedulerConfig, sampling.steps);
  const collector = options.collector(first, end);
  let steps = 0;
  const { latents, images } = await samplePictures({
    denoiser,
    vaeDecoder,
    pipeline,
    sampler,
    guidance: sampling.guidance,
    latents: startNoise(pipeline, seed, first, end),
    noiseSeeds: stepNoiseSeeds(seed, first, end),
    conditioning:
      conditions.conditioning === null
        ? null
        : sliceRows(conditions.conditioning, first - options.first, end - options.first),
    negative: conditions.negative,
    onStep: async (step) => {
      collector.add(step);
      steps += 1;
      report(options, first + ((end - first) * steps) / sampler.timesteps.length);
      await offer();
    },
  });
  return new Map<string, Tensor>([...collector.tensors(), ['latents', latents], ['images', images]]);
}

function report({ context, name, first, end }: EvaluationSampling, done: number): void {
  context.progress({ done: done - first, total: end - first, unit: 'pictures', note: name });
}
