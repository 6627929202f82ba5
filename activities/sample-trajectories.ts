import {
  type Activities,
  type SampleTrajectoriesResult,
  sampleTrajectoriesInputSchema,
} from '../contracts/activities.js';
import type { Recipe } from '../contracts/recipe.js';
import type { Runnable } from '../models/executor.js';
import { type Conditions, encodeConditions } from '../models/pipelines/encode-conditions.js';
import { openComponent } from '../models/pipelines/open-component.js';
import type { Denoiser, Pipeline } from '../models/pipelines/pipeline.js';
import { type SampleLatentsOptions, sampleLatents } from '../models/pipelines/sample-latents.js';
import { startNoise, stepNoiseSeeds } from '../models/pipelines/start-noise.js';
import { createSampler } from '../models/samplers/create-sampler.js';
import type { Sampler } from '../models/samplers/sampler.js';
import { safetensorsChunks } from '../models/tensors/safetensors.js';
import {
  asFloat32,
  elementCount,
  type Float32Tensor,
  float32,
  sliceRows,
  type Tensor,
} from '../models/tensors/tensor.js';
import type { CalibrationPair } from '../quantization/calibration/calibration-set.js';
import { tensorsFromCalibration } from '../quantization/calibration/calibration-set.js';
import { sampleCalibration } from '../quantization/calibration/sample-calibration.js';
import { measureStepWeights } from '../quantization/calibration/step-weights.js';
import { chooseTimesteps } from '../quantization/calibration/timestep-plan.js';
import { allotSamples, FEATURE_TRAJECTORIES } from './allot-samples.js';
import { BatchCheckpoints } from './batch-checkpoints.js';
import type { EngineExecutor } from './engine/engine-executor.js';
import { loadPrompts } from './load-artifacts.js';
import type { RecordedCalls } from './recorded-calls.js';
import { type ActivityDeps, runStage, type StageContext } from './stage-frame.js';
import { loadPipeline } from './stored-pipeline.js';

/** Trajectories sampled together; each is a checkpoint. */
const TRAJECTORY_BATCH = 16;

/** Trajectories that are walked again to weigh timesteps. */
const WEIGHED_TRAJECTORIES = 4;

/** Samples float trajectories and keeps what the denoiser saw and said at the calibrated timesteps. */
export function createSampleTrajectories(deps: ActivityDeps): Activities['sampleTrajectories'] {
  return (rawInput) =>
    runStage(
      deps,
      {
        stage: 'sample',
        version: 1,
        input: sampleTrajectoriesInputSchema,
        key: ({ pipeline, prompts, recipe, compute }) => ({
          pipeline,
          prompts,
          sampling: recipe.sampling,
          calibration: recipe.calibration,
          weighsSteps: weighsSteps(recipe),
          compute,
        }),
      },
      rawInput,
      async (input, context): Promise<Omit<SampleTrajectoriesResult, 'reused' | 'seconds'>> => {
        const pipeline = await loadPipeline(context.store, input.pipeline);
        const texts = (await loadPrompts(context.store, input.prompts)).calibration;
        const run = new TrajectoryRun(context, pipeline, texts, input.recipe);
        const { tensors, kept } = await context.withEngine(input.compute, (executor) => run.sample(executor));
        const metadata = { denoiser: JSON.stringify(described(pipeline.denoiser)) };
        const calibration = await context.store.putStream('calibration', safetensorsChunks(tensors, metadata));
        await run.checkpoints.remove();
        return {
          calibration,
          summary: `${texts.length} float trajectories of ${input.recipe.sampling.steps} steps, ${kept} timesteps kept, ${(calibration.sizeBytes / 1e6).toFixed(0)} MB${allottedText(run.counts)}`,
        };
      },
    );
}

/** How many samples the steps got, from noise to picture. */
function allottedText(counts: readonly number[] | undefined): string {
  return counts === undefined ? '' : `; samples by step ${counts.join(' ')}`;
}

/** Later stages feed the denoiser without its folder. */
function described(denoiser: Denoiser): Denoiser {
  return { ...denoiser, config: {} };
}

/** Weights of timesteps are measured when a loss, the choice of bits or the placing of side branches uses them. */
function weighsSteps({ finetuning, mixedPrecision, lowRank }: Recipe): boolean {
  const choosesByThem = mixedPrecision.method !== 'none' && mixedPrecision.objective === 'guided';
  const placesByThem = lowRank.macsBudget > 0 && lowRank.weighting === 'guided';
  return choosesByThem || placesByThem || (finetuning.enabled && finetuning.guidedLossWeight > 0);
}

interface TrajectoryBatch {
  readonly first: number;
  readonly end: number;
  readonly conditions: Conditions;
  readonly sampler: Sampler;
  readonly denoiser: Runnable;
  readonly kept: readonly number[];
}

/** Collects batches of rows into one tensor that exists once. */
class RowCollector {
  private dims: readonly number[] = [];
  private data = new Float32Array(0);

  constructor(private readonly rows: number) {}

  put(first: number, batch: Float32Tensor): void {
    const size = elementCount(batch.dims.slice(1));
    if (this.dims.length === 0) {
      this.dims = [this.rows, ...batch.dims.slice(1)];
      this.data = new Float32Array(this.rows * size);
    }
    this.data.set(batch.data, first * size);
  }

  whole(): Float32Tensor {
    return float32(this.dims, this.data);
  }
}

class TrajectoryRun {
  readonly checkpoints: BatchCheckpoints;
  /** Samples by kept step, when they were allotted. */
  counts: readonly number[] | undefined;
  private readonly batch: number;

  constructor(
    private readonly context: StageContext,
    private readonly pipeline: Pipeline,
    private readonly texts: readonly string[],
    private readonly settings: Recipe,
  ) {
    this.batch = Math.max(1, Math.floor(TRAJECTORY_BATCH / context.microBatchDivisor));
    this.checkpoints = new BatchCheckpoints(context, 'trajectories', this.batch);
  }

  async sample(executor: EngineExecutor): Promise<{ tensors: Map<string, Tensor>; kept: number }> {
    const { pipeline, texts, settings } = this;
    const sampler = createSampler(pipeline.schedulerConfig, settings.sampling.steps);
    const kept = chooseTimesteps(sampler.timesteps, settings.calibration.timesteps);
    const conditions = await encodeConditions(executor, pipeline, texts, settings.sampling.guidance);
    const denoiser = await openComponent(executor, pipeline.files, pipeline.denoiser);
    const samples = new RowCollector(texts.length);
    const outputs = new RowCollector(texts.length);
    for (let first = 0; first < texts.length; first += this.batch) {
      const index = first / this.batch;
      const end = Math.min(texts.length, first + this.batch);
      let made = await this.checkpoints.load(index);
      if (made === undefined) {
        const recorded = await this.checkpoints.recorded(index, denoiser);
        const found = await this.sampleBatch(index, { first, end, conditions, sampler, denoiser: recorded, kept });
        made = new Map<string, Tensor>(Object.entries(found));
        await this.checkpoints.save(index, made);
      }
      samples.put(first, asFloat32(made.get('samples') as Tensor));
      outputs.put(first, asFloat32(made.get('outputs') as Tensor));
      this.report(end);
    }
    const set = {
      timesteps: kept.map((step) => sampler.timesteps[step] ?? 0),
      samples: samples.whole(),
      outputs: outputs.whole(),
      stepWeights: await this.stepWeights({ conditions, sampler, denoiser, kept }),
      allotment: await this.allotment(executor, { conditions, sampler, denoiser, kept }),
      ...conditions,
    };
    await denoiser.release();
    return { tensors: tensorsFromCalibration(set), kept: kept.length };
  }

  private async sampleBatch(
    index: number,
    batch: TrajectoryBatch & { readonly denoiser: RecordedCalls },
  ): Promise<{ samples: Float32Tensor; outputs: Float32Tensor }> {
    const { first, end, kept, sampler, denoiser } = batch;
    let steps = 0;
    const reached = (calls: number): number => first + ((end - first) * calls) / sampler.timesteps.length;
    if (denoiser.recordedCalls > 0) this.report(first, reached(denoiser.recordedCalls));
    return sampleCalibration({
      ...this.walkOf(batch),
      kept,
      onStep: async () => {
        steps += 1;
        this.report(reached(steps));
        await this.checkpoints.offer(index, denoiser);
      },
    });
  }

  private async stepWeights(walking: Omit<TrajectoryBatch, 'first' | 'end'>): Promise<number[]> {
    const { pipeline, settings, context } = this;
    const { kept, conditions, denoiser } = walking;
    if (!weighsSteps(settings)) return kept.map(() => 1);
    const rows = Math.min(WEIGHED_TRAJECTORIES, this.texts.length);
    return measureStepWeights({
      denoiser,
      output: pipeline.denoiser.output,
      steps: kept,
      guidance: conditions.negative === null ? null : settings.sampling.guidance,
      seed: settings.calibration.seed,
      walk: (runnable) => sampleLatents(this.walkOf({ ...walking, first: 0, end: rows, denoiser: runnable })),
      onStep: async (done) => {
        context.progress({ done, total: kept.length, unit: 'timesteps', note: 'what errors there do to the result' });
        await context.breathe();
      },
    });
  }

  /** Pairs by density and variety; undefined when every trajectory is read at every kept step. */
  private async allotment(
    executor: EngineExecutor,
    walking: Omit<TrajectoryBatch, 'first' | 'end'>,
  ): Promise<CalibrationPair[] | undefined> {
    const { pipeline, settings, texts } = this;
    const { calibration } = settings;
    if (calibration.strategy === 'uniform-steps') return undefined;
    const end = Math.min(FEATURE_TRAJECTORIES, texts.length);
    const { breathe } = this.context;
    const total = walking.sampler.timesteps.length;
    const walk = (denoiser: Runnable) =>
      sampleLatents({
        ...this.walkOf({ ...walking, first: 0, end, denoiser }),
        onStep: async ({ stepIndex }) => {
          this.context.progress({ done: stepIndex + 1, total, unit: 'steps', note: 'how alike timesteps are' });
          await breathe();
        },
      });
    const { pairs, allotment } = await allotSamples({
      executor,
      pipeline,
      calibration,
      trajectories: texts.length,
      kept: walking.kept,
      breathe,
      walk,
    });
    this.counts = allotment.counts;
    return pairs;
  }

  /** How one batch walks from noise to latents. */
  private walkOf({ first, end, conditions, sampler, denoiser }: TrajectoryBatch): SampleLatentsOptions {
    const { pipeline, settings } = this;
    const { seed } = settings.calibration;
    return {
      denoiser,
      sampler,
      pipeline,
      guidance: settings.sampling.guidance,
      latents: startNoise(pipeline, seed, first, end),
      noiseSeeds: stepNoiseSeeds(seed, first, end),
      conditioning: conditions.conditioning === null ? null : sliceRows(conditions.conditioning, first, end),
      negative: conditions.negative,
    };
  }

  private report(done: number, resumedAt?: number): void {
    const resumed = resumedAt === undefined ? {} : { resumedAt };
    this.context.progress({ done, total: this.texts.length, unit: 'trajectories', ...resumed });
  }
}
