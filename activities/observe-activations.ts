import {
  type Activities,
  type ObserveActivationsResult,
  observeActivationsInputSchema,
} from '../contracts/activities.js';
import type { ArtifactRef } from '../contracts/artifact.js';
import { writeModel } from '../models/onnx/model-proto.js';
import type { Denoiser } from '../models/pipelines/pipeline.js';
import { readSafetensors, writeSafetensors } from '../models/tensors/safetensors.js';
import { ActivationObservers } from '../quantization/calibration/activation-observers.js';
import type { CalibrationSet } from '../quantization/calibration/calibration-set.js';
import { type Observation, observations } from '../quantization/calibration/observations.js';
import {
  observationGraph,
  observeBatch,
  observedItems,
  observedValues,
} from '../quantization/calibration/observe-batch.js';
import type { EngineExecutor } from './engine/engine-executor.js';
import { loadCalibration, loadGraph, loadPlan } from './load-artifacts.js';
import { type ActivityDeps, runStage, type StageContext } from './stage-frame.js';

/** Calls of the denoiser in one run: every observed value of all of them is in memory at once. */
const OBSERVATION_BATCH = 8;

/** Runs the transformed denoiser on calibration inputs and summarises what its activations do at each timestep. */
export function createObserveActivations(deps: ActivityDeps): Activities['observeActivations'] {
  return (rawInput) =>
    runStage(
      deps,
      {
        stage: 'observe',
        version: 1,
        input: observeActivationsInputSchema,
        key: ({ graph, plan, calibration, recipe, compute }) => ({
          graph,
          plan,
          calibration,
          seed: recipe.calibration.seed,
          compute,
        }),
      },
      rawInput,
      async (input, context): Promise<Omit<ObserveActivationsResult, 'reused' | 'seconds'>> => {
        const { set, denoiser } = await loadCalibration(context.store, input.calibration);
        const plan = await loadPlan(context.store, input.plan);
        const values = observedValues(plan);
        const store = (observers: ActivationObservers): Promise<ArtifactRef> =>
          context.store.put('stats', serialized(observers, set.timesteps));
        if (values.length === 0) {
          const stats = await store(new ActivationObservers());
          return { stats, summary: 'nothing to observe: every range is found at run time' };
        }
        const graph = writeModel(observationGraph(await loadGraph(context.store, input.graph), values));
        const run = { set, denoiser, wanted: observations(plan), seed: input.recipe.calibration.seed };
        const observers = await context.withEngine(input.compute, (executor) => observe(executor, graph, run, context));
        return {
          stats: await store(observers),
          summary: `${values.length} values at ${set.timesteps.length} timesteps`,
        };
      },
    );
}

interface ObservationRun {
  readonly set: CalibrationSet;
  readonly denoiser: Denoiser;
  readonly wanted: readonly Observation[];
  readonly seed: number;
}

async function observe(
  executor: EngineExecutor,
  graph: Uint8Array,
  run: ObservationRun,
  context: StageContext,
): Promise<ActivationObservers> {
  const size = Math.max(1, Math.floor(OBSERVATION_BATCH / context.microBatchDivisor));
  const batches = observedItems(run.set, run.seed).flatMap((items) =>
    Array.from({ length: Math.ceil(items.length / size) }, (_, index) => items.slice(index * size, (index + 1) * size)),
  );
  const saved = await context.checkpoint.load();
  const start = saved === undefined ? { observers: new ActivationObservers(), items: 0 } : resumed(saved);
  const { observers } = start;
  const total = batches.flat().length;
  if (saved !== undefined) {
    context.progress({ done: start.items, total, unit: 'calls', resumedAt: start.items });
  }
  const runnable = await executor.open(graph);
  let done = 0;
  for (const items of batches) {
    // Batches of another attempt may have another size: what its checkpoint has seen may end inside of one.
    const fresh = items.slice(Math.max(0, start.items - done));
    done += items.length;
    if (fresh.length === 0) continue;
    await observeBatch(runnable, run, fresh, observers);
    context.progress({ done, total, unit: 'calls' });
    const seen = done;
    await context.checkpoint.offer(() => serialized(observers, run.set.timesteps, seen));
  }
  await runnable.release();
  return observers;
}

/** Rows of later tables are the calibrated timesteps in sampler order, also when nothing was observed. */
function serialized(observers: ActivationObservers, timesteps: readonly number[], items?: number): Uint8Array {
  const progress: Record<string, string> = items === undefined ? {} : { items: String(items) };
  return writeSafetensors(observers.toTensors(), { timesteps: JSON.stringify(timesteps), ...progress });
}

function resumed(bytes: Uint8Array): { observers: ActivationObservers; items: number } {
  const { tensors, metadata } = readSafetensors(bytes);
  return { observers: ActivationObservers.fromTensors(tensors), items: Number(metadata.items) };
}
