import type { ArtifactRef } from '../contracts/artifact.js';
import type { Recipe } from '../contracts/recipe.js';
import type { Compute } from '../contracts/stages.js';
import type { Images } from '../evaluation/metrics/image-pairs.js';
import { type EvaluationTriple, evaluationTriples } from '../evaluation/sampling/evaluation-triples.js';
import { FloatCollector } from '../evaluation/sampling/float-collector.js';
import { branchesOf, type Conditions } from '../models/pipelines/encode-conditions.js';
import { openComponent } from '../models/pipelines/open-component.js';
import type { Pipeline } from '../models/pipelines/pipeline.js';
import { createSampler } from '../models/samplers/create-sampler.js';
import { readSafetensors, writeSafetensors } from '../models/tensors/safetensors.js';
import { asFloat32, type Float32Tensor, type Tensor } from '../models/tensors/tensor.js';
import type { EngineExecutor } from './engine/engine-executor.js';
import { joined, sampleEvaluation } from './evaluation-sampling.js';
import type { FrechetExtractor } from './frechet-extractor.js';
import type { StageContext } from './stage-frame.js';
import { StageCache, stageKey } from './store/stage-cache.js';

/** Raise it when the float side of an evaluation gives other numbers. */
const VERSION = 2;

/** Pictures whose whole trajectories are kept: enough for the error per timestep, bounded in memory. */
const COMPARED_TRAJECTORIES = 256;

/** The float side of every evaluation of a run. */
export interface FloatReference {
  /** Artifact kind images. */
  readonly ref: ArtifactRef;
  readonly images: Images;
  readonly latents: Float32Tensor;
  /** [T, K, C, H, W] of the first pictures: x behind every step. */
  readonly states: Float32Tensor;
  /** [n, d] */
  readonly features: Float32Tensor;
  readonly triples: readonly EvaluationTriple[];
  readonly pairs: { readonly samples: Float32Tensor; readonly outputs: Float32Tensor };
  /** Of the sampler's steps. */
  readonly timesteps: readonly number[];
}

export interface FloatReferenceOptions {
  readonly context: StageContext;
  readonly executor: EngineExecutor;
  readonly pipeline: Pipeline;
  readonly conditions: Conditions;
  readonly recipe: Recipe;
  readonly extractor: FrechetExtractor;
  /** What decides the result beside the recipe. */
  readonly identity: {
    readonly reference: ArtifactRef;
    readonly prompts: ArtifactRef;
    readonly compute: Compute;
    readonly facts: Readonly<Record<string, string>>;
  };
}

/** Samples the float pipeline, or finds what an earlier evaluation sampled. */
export async function floatReference(options: FloatReferenceOptions): Promise<FloatReference> {
  const { context, pipeline, recipe, identity } = options;
  const { samples, seed, timestepPairs } = recipe.evaluation;
  const { timesteps } = createSampler(pipeline.schedulerConfig, recipe.sampling.steps);
  const compared = Math.min(samples, COMPARED_TRAJECTORIES);
  const sizes = { images: compared, steps: timesteps.length, branches: branchesOf(options.conditions) };
  const triples = evaluationTriples(sizes, timestepPairs, seed);
  const key = stageKey({
    stage: 'float reference',
    version: VERSION,
    key: {
      ...identity,
      extractor: options.extractor.name,
      sampling: recipe.sampling,
      evaluation: { samples, seed, timestepPairs },
    },
  });
  const cache = new StageCache(context.store);
  const known = (await cache.load(key)) as { reference: ArtifactRef } | undefined;
  const ref = known?.reference ?? (await sampleFloat(options, triples, compared));
  if (known === undefined) await cache.save(key, { reference: ref });
  const { tensors } = readSafetensors(await context.store.get(ref));
  const need = (name: string): Float32Tensor => asFloat32(tensors.get(name) as Tensor);
  return {
    ref,
    images: tensors.get('images') as Images,
    latents: need('latents'),
    states: need('states'),
    features: need('features'),
    triples,
    pairs: { samples: need('pairs.sample'), outputs: need('pairs.output') },
    timesteps,
  };
}

async function sampleFloat(
  options: FloatReferenceOptions,
  triples: readonly EvaluationTriple[],
  compared: number,
): Promise<ArtifactRef> {
  const { context, executor, pipeline, recipe } = options;
  const { sampleDims } = pipeline.denoiser;
  const denoiser = await openComponent(executor, pipeline.files, pipeline.denoiser);
  const steps = createSampler(pipeline.schedulerConfig, recipe.sampling.steps).timesteps.length;
  const { parts, checkpoints } = await sampleEvaluation({
    ...options,
    denoiser,
    sampling: recipe.sampling,
    seed: recipe.evaluation.seed,
    first: 0,
    end: recipe.evaluation.samples,
    name: 'float pictures',
    collector: (first, end) => {
      const own = triples.filter(({ image }) => image >= first && image < end);
      return new FloatCollector(first, Math.max(0, Math.min(end, compared) - first), steps, sampleDims, own);
    },
  });
  await denoiser.release();
  const images = joined(parts, 'images') as Images;
  const tensors = new Map<string, Tensor>([
    ['images', images],
    ['latents', joined(parts, 'latents')],
    ['states', joined(parts, 'states')],
    ['pairs.sample', joined(parts, 'pairs.sample')],
    ['pairs.output', joined(parts, 'pairs.output')],
    ['features', await options.extractor.features(executor, images)],
  ]);
  const ref = await context.store.put('images', writeSafetensors(tensors));
  await checkpoints.remove();
  return ref;
}
