import {
  type Activities,
  type MeasureSensitivityResult,
  measureSensitivityInputSchema,
} from '../contracts/activities.js';
import { inferShapes } from '../models/onnx/shape-inference.js';
import { denoiserDims } from '../models/pipelines/denoiser-dims.js';
import { readSafetensors } from '../models/tensors/safetensors.js';
import { ActivationObservers } from '../quantization/calibration/activation-observers.js';
import {
  type ScanState,
  type SensitivityOptions,
  scanSensitivity,
} from '../quantization/sensitivity/scan-sensitivity.js';
import { medianOwnError, type Sensitivity } from '../quantization/sensitivity/sensitivity.js';
import { loadCalibration, loadGraph, loadPlan } from './load-artifacts.js';
import { type ActivityDeps, runStage, type StageContext } from './stage-frame.js';
import { loadPipeline } from './stored-pipeline.js';

/** Calls of the denoiser per run. */
const SCAN_BATCH = 8;

/** Shapes are inferred for the batch that the plan was made for. */
const PLANNING_BATCH = 2;

/** Measures what each quantized layer does alone; every measurement is part of the checkpoint. */
export function createMeasureSensitivity(deps: ActivityDeps): Activities['measureSensitivity'] {
  return (rawInput) =>
    runStage(
      deps,
      {
        stage: 'sensitivity',
        version: 1,
        input: measureSensitivityInputSchema,
        key: ({ graph, plan, stats, calibration, recipe, compute }) => ({
          graph,
          plan,
          stats,
          calibration,
          bits: recipe.sensitivity.bits,
          items: recipe.sensitivity.items,
          guidance: recipe.sampling.guidance,
          seed: recipe.calibration.seed,
          compute,
        }),
      },
      rawInput,
      async (input, context): Promise<Omit<MeasureSensitivityResult, 'reused' | 'seconds'>> => {
        const { set, denoiser } = await loadCalibration(context.store, input.calibration);
        const graph = await loadGraph(context.store, input.graph);
        const pipeline = await loadPipeline(context.store, input.pipeline);
        const options = {
          graph,
          shapes: inferShapes(graph, denoiserDims(pipeline, graph, PLANNING_BATCH)),
          plan: await loadPlan(context.store, input.plan),
          observers: ActivationObservers.fromTensors(readSafetensors(await context.store.get(input.stats)).tensors),
          calibration: set,
          denoiser,
          bits: input.recipe.sensitivity.bits,
          items: input.recipe.sensitivity.items,
          guidance: input.recipe.sampling.guidance,
          seed: input.recipe.calibration.seed,
          batchSize: Math.max(1, Math.floor(SCAN_BATCH / context.microBatchDivisor)),
        };
        const found = await context.withEngine(input.compute, (executor) => scan({ ...options, executor }, context));
        const medianError = medianOwnError(found);
        return {
          sensitivity: await context.store.putJson('sensitivity', found),
          medianError,
          summary: describe(found),
        };
      },
    );
}

async function scan(options: SensitivityOptions, context: StageContext): Promise<Sensitivity> {
  const saved = await context.checkpoint.load();
  const resume = saved === undefined ? undefined : (JSON.parse(new TextDecoder().decode(saved)) as ScanState);
  let resumedAt = resume === undefined ? undefined : Object.keys(resume.network).length;
  return scanSensitivity({
    ...options,
    ...(resume === undefined ? {} : { resume }),
    onProgress: async ({ done, total, note, isWaveEnd, state }) => {
      context.progress({ done, total, unit: 'measurements', note, ...(resumedAt === undefined ? {} : { resumedAt }) });
      resumedAt = undefined;
      const bytes = (): Uint8Array => new TextEncoder().encode(JSON.stringify(state()));
      if (isWaveEnd) await context.checkpoint.save(bytes());
      else await context.checkpoint.offer(bytes);
    },
  });
}

function describe({ layers, bits, items }: Sensitivity): string {
  if (bits.length === 0) return `${layers.length} layers' own errors on ${items} calls`;
  const errors = layers.flatMap(({ name, weights, activations }) =>
    [...weights, ...activations].map(({ output }) => ({ name, output })),
  );
  const worst = errors.reduce((found, one) => (one.output > found.output ? one : found), { name: 'none', output: 0 });
  return `${layers.length} layers at ${bits.join(', ')} bits on ${items} calls, worst ${worst.name}`;
}
