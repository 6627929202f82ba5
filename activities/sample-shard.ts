import type { z } from 'zod';
import {
  type EvaluationActivities,
  type SampleShardResult,
  SHARD_SIZES,
  sampleShardInputSchema,
} from '../contracts/evaluation-activities.js';
import type { Images } from '../evaluation/metrics/image-pairs.js';
import { evaluationTriples } from '../evaluation/sampling/evaluation-triples.js';
import { FloatCollector } from '../evaluation/sampling/float-collector.js';
import { PictureDifferences } from '../evaluation/sampling/picture-differences.js';
import { writeModel } from '../models/onnx/model-proto.js';
import { branchesOf, encodeConditions } from '../models/pipelines/encode-conditions.js';
import { openComponent } from '../models/pipelines/open-component.js';
import type { Pipeline } from '../models/pipelines/pipeline.js';
import { createSampler } from '../models/samplers/create-sampler.js';
import { readSafetensors, writeSafetensors } from '../models/tensors/safetensors.js';
import { asFloat32, sliceRows, type Tensor } from '../models/tensors/tensor.js';
import { candidateGraph } from './candidate-graph.js';
import type { EngineExecutor } from './engine/engine-executor.js';
import { type Collector, joined, sampleEvaluation } from './evaluation-sampling.js';
import { storePictures } from './images/store-pictures.js';
import { shardMetadata } from './shard-metadata.js';
import { type ActivityDeps, runStage, type StageContext } from './stage-frame.js';
import type { LocalStore } from './store/local-store.js';
import { loadPipeline } from './stored-pipeline.js';

type Input = z.output<typeof sampleShardInputSchema>;

/**
 * Samples some of an evaluation's pictures. Picture i starts from noise (seed, i) and is always computed in the same batch, so
 * that pictures do not depend on shards. A killed attempt goes on behind its last finished batch.
 */
export function createSampleShard(deps: ActivityDeps): EvaluationActivities['sampleShard'] {
  return (rawInput) =>
    runStage(
      deps,
      {
        stage: 'pictures',
        version: 2,
        input: sampleShardInputSchema,
        key: keyOf,
      },
      rawInput,
      (input, context) => sampleShard(input, context),
    );
}

/** Everything of a shard's own, and nothing of the other pictures: an evaluation of more pictures finds the shards of one of fewer. */
async function keyOf({ prompts, sampling, ...input }: Input, store: LocalStore): Promise<unknown> {
  const { seed, steps, guidance, images, timestepPairs } = sampling;
  const compared = Math.min(sampling.samples, sampling.trajectories);
  const keepsSome = input.against === null && input.first < compared;
  return {
    ...{ ...input, seed, steps, guidance, images },
    prompts: ((await store.getJson(prompts)) as string[]).slice(input.first, input.end),
    // Calls of the denoiser are drawn from all trajectories that are kept.
    kept: keepsSome ? { compared, timestepPairs } : null,
  };
}

async function sampleShard(
  input: Input,
  context: StageContext,
): Promise<Omit<SampleShardResult, 'reused' | 'seconds'>> {
  const { store } = context;
  if (input.first % SHARD_SIZES.of !== 0) throw new RangeError(`shards start at multiples of ${SHARD_SIZES.of}`);
  const pipeline = await loadPipeline(store, input.pipeline);
  const prompts = ((await store.getJson(input.prompts)) as string[]).slice(input.first, input.end);
  const { parts, batch, remove } = await context.withEngine(input.compute, (executor) =>
    sample(input, context, executor, pipeline, prompts),
  );
  const pictures = joined(parts, 'images') as Images;
  const kept = input.against === null ? ['states', 'pairs.sample', 'pairs.output'] : ['energies'];
  const { timesteps } = createSampler(pipeline.schedulerConfig, input.sampling.steps);
  const tensors = new Map(kept.map((name): [string, Tensor] => [name, joined(parts, name)]));
  const result = {
    images: await storePictures(store, pictures, input.sampling.images),
    trajectories: await store.put('trajectories', writeSafetensors(tensors, shardMetadata({ timesteps, batch }))),
    summary: `pictures ${input.first} to ${input.end - 1}`,
  };
  await remove();
  return result;
}

async function sample(
  input: Input,
  context: StageContext,
  executor: EngineExecutor,
  pipeline: Pipeline,
  prompts: readonly string[],
): Promise<{ parts: ReadonlyMap<string, Tensor[]>; batch: number; remove: () => Promise<void> }> {
  const { sampling, first, end, compute } = input;
  const conditions = await encodeConditions(executor, pipeline, prompts, sampling.guidance);
  const { graph, arithmetic } = candidateGraph(pipeline, compute.device);
  const denoiser =
    arithmetic === 'shipped'
      ? await openComponent(executor, pipeline.files, pipeline.denoiser)
      : await executor.open(writeModel(graph));
  const { parts, batch, checkpoints } = await sampleEvaluation({
    ...{ context, executor, pipeline, denoiser, conditions, first, end },
    sampling,
    seed: sampling.seed,
    name: 'pictures',
    collector: await collectorOf(input, context, pipeline, branchesOf(conditions)),
  });
  await denoiser.release();
  return { parts, batch, remove: () => checkpoints.remove() };
}

/** Takes notes of a float trajectory, or compares with one. */
async function collectorOf(
  input: Input,
  { store }: StageContext,
  pipeline: Pipeline,
  branches: 1 | 2,
): Promise<(first: number, end: number) => Collector> {
  const { sampling, against } = input;
  const compared = Math.min(sampling.samples, sampling.trajectories);
  if (against !== null) {
    const { tensors } = readSafetensors(await store.get(against));
    const states = asFloat32(tensors.get('states') as Tensor);
    const rows = states.dims[0] ?? 0;
    const local = (index: number): number => Math.min(rows, index - input.first);
    return (first, end) => new PictureDifferences(sliceRows(states, local(first), local(end)));
  }
  const steps = createSampler(pipeline.schedulerConfig, sampling.steps).timesteps.length;
  const sizes = { images: compared, steps, branches };
  const triples = compared === 0 ? [] : evaluationTriples(sizes, sampling.timestepPairs, sampling.seed);
  const { sampleDims } = pipeline.denoiser;
  return (first, end) => {
    const own = triples.filter(({ image }) => image >= first && image < end);
    return new FloatCollector(first, Math.max(0, Math.min(end, compared) - first), steps, sampleDims, own);
  };
}
