import type { z } from 'zod';
import { type Activities, type EvaluatePipelineResult, evaluatePipelineInputSchema } from '../contracts/activities.js';
import type { ArtifactRef } from '../contracts/artifact.js';
import { frechetDistance } from '../evaluation/metrics/frechet-distance.js';
import type { Images } from '../evaluation/metrics/image-pairs.js';
import { latentSqnrDb, sqnrDbOf } from '../evaluation/metrics/latent-sqnr.js';
import { psnrOfImages } from '../evaluation/metrics/psnr.js';
import { relativeMseOf } from '../evaluation/metrics/relative-mse.js';
import { ssimOfImages } from '../evaluation/metrics/ssim.js';
import type { FrechetScores, PipelineScores } from '../evaluation/pipeline-scores.js';
import { denoiserError } from '../evaluation/sampling/denoiser-pairs.js';
import { DifferenceCollector, mergedEnergies } from '../evaluation/sampling/difference-collector.js';
import type { LayerErrors } from '../evaluation/sampling/layer-errors.js';
import { writeModel } from '../models/onnx/model-proto.js';
import { type Conditions, encodeConditions } from '../models/pipelines/encode-conditions.js';
import { openComponent } from '../models/pipelines/open-component.js';
import type { Pipeline } from '../models/pipelines/pipeline.js';
import { writeSafetensors } from '../models/tensors/safetensors.js';
import { asFloat32, type Float32Tensor, sliceRows, type Tensor } from '../models/tensors/tensor.js';
import { candidateGraph } from './candidate-graph.js';
import type { EngineExecutor } from './engine/engine-executor.js';
import { EVALUATION_BATCH, joined, sampleEvaluation } from './evaluation-sampling.js';
import { type FloatReference, floatReference } from './float-reference.js';
import { FrechetExtractor, referenceFeatures } from './frechet-extractor.js';
import { compareLayers } from './layer-comparison.js';
import { loadPrompts } from './load-artifacts.js';
import { type ActivityDeps, runStage, type StageContext } from './stage-frame.js';
import { loadManifest, loadPipeline } from './stored-pipeline.js';

type Input = z.output<typeof evaluatePipelineInputSchema>;

/** Samples a pipeline's own files with the evaluation's prompts and seeds, and compares with the float pipeline. */
export function createEvaluatePipeline(deps: ActivityDeps): Activities['evaluatePipeline'] {
  return (rawInput) =>
    runStage(
      deps,
      {
        stage: 'evaluate',
        version: 2,
        input: evaluatePipelineInputSchema,
        key: ({ recipe, ...input }) => ({
          ...input,
          sampling: recipe.sampling,
          evaluation: recipe.evaluation,
          plan: planSettings(recipe),
        }),
      },
      rawInput,
      (input, context) => evaluate(input, context, deps.facts),
    );
}

/** What decides which layers are compared. */
function planSettings({ weights, activations, edges, attention, overrides, transforms }: Input['recipe']): unknown {
  return { weights, activations, edges, attention, overrides, transforms };
}

async function evaluate(
  input: Input,
  context: StageContext,
  facts: Readonly<Record<string, string>>,
): Promise<Omit<EvaluatePipelineResult, 'reused' | 'seconds'>> {
  const pipeline = await loadPipeline(context.store, input.reference);
  const texts = (await loadPrompts(context.store, input.prompts)).evaluation;
  const extractor = await FrechetExtractor.load();
  const { recipe, reference, prompts, compute } = input;
  const identity = { reference, prompts, compute, facts };
  return context.withEngine(compute, async (executor) => {
    const conditions = await encodeConditions(executor, pipeline, texts, recipe.sampling.guidance);
    const float = await floatReference({
      context,
      executor,
      pipeline,
      conditions,
      recipe,
      extractor,
      identity,
    });
    const run = new Evaluation(input, context, executor, { pipeline, texts, conditions, float, extractor });
    return run.execute();
  });
}

interface EvaluationParts {
  /** The float pipeline. */
  readonly pipeline: Pipeline;
  readonly texts: readonly string[];
  readonly conditions: Conditions;
  readonly float: FloatReference;
  readonly extractor: FrechetExtractor;
}

interface Sampled {
  readonly images: Images;
  readonly latents: Float32Tensor;
  /** Per sampler step. */
  readonly sqnrDb: readonly number[];
}

class Evaluation {
  constructor(
    private readonly input: Input,
    private readonly context: StageContext,
    private readonly executor: EngineExecutor,
    private readonly parts: EvaluationParts,
  ) {}

  async execute(): Promise<Omit<EvaluatePipelineResult, 'reused' | 'seconds'>> {
    const { candidate } = this.input;
    const measured = candidate === null ? await this.noiseFloor() : await this.candidate(candidate);
    const { float } = this.parts;
    const scores: PipelineScores = {
      schemaVersion: 1,
      label: this.input.label,
      samples: this.input.recipe.evaluation.samples,
      psnrDb: Array.from(psnrOfImages(float.images, measured.images)),
      ssim: Array.from(ssimOfImages(float.images, measured.images)),
      latentSqnrDb: latentSqnrDb(float.latents, measured.latents),
      timestepSqnr: float.timesteps.map((timestep, step) => ({ timestep, sqnrDb: measured.sqnrDb[step] ?? 0 })),
      frechet: await this.frechet(measured.images),
      denoiserRelativeMse: measured.denoiserRelativeMse,
      layers: measured.layers?.layers ?? null,
      layerTimesteps: measured.layers?.layerTimesteps ?? null,
      arithmetic: measured.arithmetic,
    };
    const pictures = new Map<string, Tensor>([
      ['float', float.images],
      ['images', measured.images],
    ]);
    const headline = headlineOf(scores);
    return {
      scores: await this.context.store.putJson('scores', scores),
      images: await this.context.store.put('images', writeSafetensors(pictures)),
      headline,
      summary: describe(headline, scores),
    };
  }

  /** The float pipeline itself with the next seed: how far apart two equally good answers are. */
  private async noiseFloor() {
    const { pipeline, conditions } = this.parts;
    const { seed } = this.input.recipe.evaluation;
    const denoiser = await openComponent(this.executor, pipeline.files, pipeline.denoiser);
    const name = 'float pictures, other seeds';
    const sampled = await this.sample({ pipeline, denoiser, conditions, seed: seed + 1, name });
    await denoiser.release();
    return { ...sampled, denoiserRelativeMse: null, layers: null, arithmetic: 'float' as const };
  }

  private async candidate(ref: ArtifactRef) {
    const { recipe, compute } = this.input;
    const { texts } = this.parts;
    const pipeline = await loadPipeline(this.context.store, ref);
    const { graph, arithmetic } = candidateGraph(pipeline, compute.device);
    const conditions = await encodeConditions(this.executor, pipeline, texts, recipe.sampling.guidance);
    const denoiser = await this.executor.open(
      arithmetic === 'shipped' ? pipeline.files.read(pipeline.denoiser.modelPath) : writeModel(graph),
    );
    const { seed } = recipe.evaluation;
    const sampled = await this.sample({ pipeline, denoiser, conditions, seed, name: 'quantized pictures' });
    const pairs = this.pairs();
    const error = await denoiserError(denoiser, pipeline, pairs, {
      batchSize: Math.max(1, Math.floor((2 * EVALUATION_BATCH) / this.context.microBatchDivisor)),
      onProgress: async (done) => {
        this.context.progress({ done, total: pairs.triples.length, unit: 'calls', note: 'denoiser outputs compared' });
        await this.context.breathe();
      },
    });
    await denoiser.release();
    const layers = await this.layers(graph);
    return { ...sampled, denoiserRelativeMse: relativeMseOf(error), layers, arithmetic };
  }

  private layers(candidate: Parameters<typeof compareLayers>[0]['candidate']): Promise<LayerErrors> {
    const { context, executor } = this;
    const { pipeline: reference } = this.parts;
    return compareLayers({ context, executor, reference, candidate, recipe: this.input.recipe, pairs: this.pairs() });
  }

  private pairs() {
    const { float, conditions } = this.parts;
    return { triples: float.triples, timesteps: float.timesteps, ...float.pairs, conditions };
  }

  private async sample(source: {
    readonly pipeline: Pipeline;
    readonly denoiser: Awaited<ReturnType<typeof openComponent>>;
    readonly conditions: Conditions;
    readonly seed: number;
    readonly name: string;
  }): Promise<Sampled> {
    const { context, executor } = this;
    const { states } = this.parts.float;
    const compared = states.dims[0] ?? 0;
    const { parts, checkpoints } = await sampleEvaluation({
      ...source,
      context,
      executor,
      sampling: this.input.recipe.sampling,
      first: 0,
      end: this.input.recipe.evaluation.samples,
      collector: (first, end) =>
        new DifferenceCollector(sliceRows(states, Math.min(first, compared), Math.min(end, compared))),
    });
    const images = joined(parts, 'images') as Images;
    const latents = asFloat32(joined(parts, 'latents'));
    await checkpoints.remove();
    return { images, latents, sqnrDb: mergedEnergies(parts.get('energies') ?? []).map(sqnrDbOf) };
  }

  private async frechet(images: Images): Promise<FrechetScores> {
    const { extractor, float, pipeline } = this.parts;
    const { files } = await loadManifest(this.context.store, this.input.reference);
    const denoiser = files.find(({ path }) => path === pipeline.denoiser.modelPath);
    const reference = await referenceFeatures(pipeline, denoiser?.ref.digest ?? '');
    const features = await extractor.features(this.executor, images);
    return {
      name: extractor.name,
      toFloat: frechetDistance(features, float.features).value,
      toReference: reference === null ? null : frechetDistance(features, reference).value,
      floatToReference: reference === null ? null : frechetDistance(float.features, reference).value,
      referenceCount: reference?.dims[0] ?? null,
    };
  }
}

function headlineOf(scores: PipelineScores): EvaluatePipelineResult['headline'] {
  const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
  return {
    label: scores.label,
    psnrDb: mean(scores.psnrDb),
    ssim: mean(scores.ssim),
    latentSqnrDb: scores.latentSqnrDb,
    frechetToFloat: scores.frechet.toFloat,
    frechetToReference: scores.frechet.toReference,
    denoiserRelativeMse: scores.denoiserRelativeMse,
  };
}

function describe(headline: EvaluatePipelineResult['headline'], { samples, arithmetic }: PipelineScores): string {
  const error = headline.denoiserRelativeMse;
  const denoiser = error === null ? '' : `, denoiser error ${(100 * error).toFixed(2)} %`;
  const how = arithmetic === 'shipped-in-float' ? '; its arithmetic ran in float operators' : '';
  return `PSNR ${headline.psnrDb.toFixed(2)} dB, SSIM ${headline.ssim.toFixed(3)}${denoiser} (n = ${samples})${how}`;
}
