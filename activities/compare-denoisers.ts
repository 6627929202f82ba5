import type { z } from 'zod';
import {
  type CompareDenoisersResult,
  compareDenoisersInputSchema,
  type EvaluationActivities,
} from '../contracts/evaluation-activities.js';
import { type Recipe, recipeSchema } from '../contracts/recipe.js';
import type { DenoiserComparison } from '../evaluation/denoiser-comparison.js';
import { ErrorEnergy } from '../evaluation/metrics/error-energy.js';
import { relativeMseOf } from '../evaluation/metrics/relative-mse.js';
import { type DenoiserPairs, denoiserError, pairsOfEachStep } from '../evaluation/sampling/denoiser-pairs.js';
import { evaluationTriples } from '../evaluation/sampling/evaluation-triples.js';
import { writeModel } from '../models/onnx/model-proto.js';
import { branchesOf, encodeConditions } from '../models/pipelines/encode-conditions.js';
import { openComponent } from '../models/pipelines/open-component.js';
import type { Pipeline } from '../models/pipelines/pipeline.js';
import { createSampler } from '../models/samplers/create-sampler.js';
import { readSafetensors } from '../models/tensors/safetensors.js';
import { asFloat32, concatRows, type Float32Tensor, type Tensor } from '../models/tensors/tensor.js';
import { candidateGraph } from './candidate-graph.js';
import type { EngineExecutor } from './engine/engine-executor.js';
import { EVALUATION_BATCH } from './evaluation-sampling.js';
import { compareActivations, compareLayers, type LayerComparison } from './layer-comparison.js';
import { type ActivityDeps, runStage, type StageContext } from './stage-frame.js';
import { loadPipeline } from './stored-pipeline.js';

type Input = z.output<typeof compareDenoisersInputSchema>;

/** Runs the candidate's denoiser on what the float one saw, and compares outputs and layers. */
export function createCompareDenoisers(deps: ActivityDeps): EvaluationActivities['compareDenoisers'] {
  return (rawInput) =>
    runStage(
      deps,
      {
        stage: 'compare',
        version: 4,
        input: compareDenoisersInputSchema,
        key: ({ inside, ...input }) => ({
          ...input,
          inside: inside && { ...inside, recipe: planSettings(inside.recipe) },
        }),
      },
      rawInput,
      async (input, context): Promise<Omit<CompareDenoisersResult, 'reused' | 'seconds'>> => {
        const comparison = await context.withEngine(input.compute, (executor) => compare(input, context, executor));
        const share = (100 * comparison.denoiserRelativeMse).toFixed(2);
        return {
          comparison: await context.store.putJson('comparison', comparison),
          arithmetic: comparison.arithmetic,
          summary: `denoiser error ${share} % on ${comparison.calls} calls, ${comparison.layers.length} layers compared`,
        };
      },
    );
}

/** What decides which layers are compared. */
function planSettings(recipe: Recipe | null): unknown {
  if (recipe === null) return null;
  const { weights, activations, edges, attention, overrides, transforms } = recipe;
  return { weights, activations, edges, attention, overrides, transforms };
}

async function compare(input: Input, context: StageContext, executor: EngineExecutor): Promise<DenoiserComparison> {
  const { store } = context;
  const reference = await loadPipeline(store, input.reference);
  const candidate = await loadPipeline(store, input.candidate);
  const { graph, arithmetic } = candidateGraph(candidate, input.compute.device);
  const pairs = await pairsOf(input, context, executor, reference);
  const denoiser =
    arithmetic === 'shipped'
      ? await openComponent(executor, candidate.files, candidate.denoiser)
      : await executor.open(writeModel(graph));
  const byImage = new Map<number, ErrorEnergy>();
  const error = await denoiserError(denoiser, candidate, pairs, {
    onPair: (index, energy) => {
      const { image = 0 } = pairs.triples[index] ?? {};
      byImage.set(image, (byImage.get(image) ?? new ErrorEnergy()).merge(energy));
    },
    batchSize: Math.max(1, Math.floor((2 * EVALUATION_BATCH) / context.microBatchDivisor)),
    onProgress: async (done) => {
      context.progress({ done, total: pairs.triples.length, unit: 'calls', note: 'denoiser outputs compared' });
      await context.breathe();
    },
  });
  await denoiser.release();
  const options = { context, executor, reference, candidate: graph, pairs };
  return {
    schemaVersion: 1,
    calls: pairs.triples.length,
    denoiserRelativeMse: relativeMseOf(error),
    pictures: [...byImage]
      .map(([image, { signal, noise }]) => ({ image, signal, noise }))
      .sort((a, b) => a.image - b.image),
    ...(input.inside === null ? NOTHING_INSIDE : await compareInside(options, input.inside)),
    arithmetic,
  };
}

type Inside = Pick<DenoiserComparison, 'layers' | 'layerTimesteps' | 'drift'>;

const NOTHING_INSIDE: Inside = { layers: [], layerTimesteps: { layers: [], timesteps: [], errors: [] }, drift: null };

/** The layers' outputs, and the drift of their histograms. */
async function compareInside(
  options: Omit<LayerComparison, 'recipe'>,
  { recipe, driftCalls }: NonNullable<Input['inside']>,
): Promise<Inside> {
  // Without a recipe, every layer is looked for under its node's name, split ones included; what a candidate has not, is left out.
  const named = { ...options, recipe: recipe ?? recipeSchema.parse({ name: 'every-layer' }) };
  const layers = await compareLayers(named);
  const pairs = driftCalls === null ? options.pairs : pairsOfEachStep(options.pairs, driftCalls);
  return { ...layers, drift: await compareActivations({ ...named, pairs }) };
}

/** What the float denoiser saw and said, from the shards that kept some of it. */
async function pairsOf(
  { sampling, prompts, trajectories }: Input,
  { store }: StageContext,
  executor: EngineExecutor,
  reference: Pipeline,
): Promise<DenoiserPairs> {
  const images = Math.min(sampling.samples, sampling.trajectories);
  const texts = ((await store.getJson(prompts)) as string[]).slice(0, images);
  const conditions = await encodeConditions(executor, reference, texts, sampling.guidance);
  const { timesteps } = createSampler(reference.schedulerConfig, sampling.steps);
  const sizes = { images, steps: timesteps.length, branches: branchesOf(conditions) };
  const samples: Float32Tensor[] = [];
  const outputs: Float32Tensor[] = [];
  for (const ref of trajectories) {
    const { tensors } = readSafetensors(await store.get(ref));
    samples.push(asFloat32(tensors.get('pairs.sample') as Tensor));
    outputs.push(asFloat32(tensors.get('pairs.output') as Tensor));
  }
  return {
    triples: evaluationTriples(sizes, sampling.timestepPairs, sampling.seed),
    timesteps,
    samples: concatRows(samples),
    outputs: concatRows(outputs),
    conditions,
  };
}
