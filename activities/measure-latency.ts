import type { z } from 'zod';
import {
  type EvaluationActivities,
  type MeasureLatencyResult,
  measureLatencyInputSchema,
} from '../contracts/evaluation-activities.js';
import type { LatencyData, LatencyRow } from '../evaluation/report/report-data.js';
import { quantile } from '../evaluation/statistics/quantile.js';
import type { Feeds, Runnable } from '../models/executor.js';
import { writeModel } from '../models/onnx/model-proto.js';
import { denoiserFeeds } from '../models/pipelines/denoiser-feeds.js';
import { encodeConditions } from '../models/pipelines/encode-conditions.js';
import { openComponent } from '../models/pipelines/open-component.js';
import type { Pipeline } from '../models/pipelines/pipeline.js';
import { startNoise } from '../models/pipelines/start-noise.js';
import { concatRows } from '../models/tensors/tensor.js';
import { candidateGraph } from './candidate-graph.js';
import type { EngineExecutor } from './engine/engine-executor.js';
import { type ActivityDeps, runStage, type StageContext } from './stage-frame.js';
import { loadPipeline } from './stored-pipeline.js';

type Input = z.output<typeof measureLatencyInputSchema>;

/** Both branches of guidance at once. */
const BATCH = 2;
const WARM_UP = 2;
/** Calls of each denoiser, taken in turns. */
const CALLS = 11;

/** Times calls of the denoisers, in turns so that a busy machine slows all of them. */
export function createMeasureLatency(deps: ActivityDeps): EvaluationActivities['measureLatency'] {
  return (rawInput) =>
    runStage(
      deps,
      { stage: 'latency', version: 1, input: measureLatencyInputSchema },
      rawInput,
      async (input, context): Promise<Omit<MeasureLatencyResult, 'reused' | 'seconds'>> => {
        const rows = await context.withEngine(input.compute, (executor) => measure(input, context, executor));
        const latency: LatencyData = { rows, batch: BATCH };
        return {
          latency: await context.store.putJson('comparison', latency),
          summary: rows.map(({ label, medianMs }) => `${label} ${medianMs.toFixed(1)} ms`).join(', '),
        };
      },
    );
}

interface Timed {
  readonly label: string;
  readonly simulated: boolean;
  readonly denoiser: Runnable;
  readonly feeds: Feeds;
  readonly output: string;
  readonly ms: number[];
}

async function measure(input: Input, context: StageContext, executor: EngineExecutor): Promise<LatencyRow[]> {
  const { store } = context;
  const timed: Timed[] = [];
  if (input.reference !== null) {
    const reference = await loadPipeline(store, input.reference);
    const denoiser = await openComponent(executor, reference.files, reference.denoiser);
    timed.push(await timedOf(executor, reference, denoiser, 'float', false));
  }
  const candidate = await loadPipeline(store, input.candidate);
  const { graph, arithmetic } = candidateGraph(candidate, input.compute.device);
  const isShipped = arithmetic === 'shipped';
  const denoiser = isShipped
    ? await openComponent(executor, candidate.files, candidate.denoiser)
    : await executor.open(writeModel(graph));
  const isQuantized = graph.nodes.some(({ opType }) => opType === 'DequantizeLinear');
  const label = isShipped ? (isQuantized ? 'quantized, as shipped' : 'evaluated') : 'quantized, in float operators';
  timed.push(await timedOf(executor, candidate, denoiser, label, isQuantized || !isShipped));
  for (let call = 0; call < WARM_UP + CALLS; call += 1) {
    for (const one of timed) {
      const startedAt = performance.now();
      await one.denoiser.run(one.feeds, [one.output]);
      if (call >= WARM_UP) one.ms.push(performance.now() - startedAt);
    }
    context.progress({ done: call + 1, total: WARM_UP + CALLS, unit: 'calls', note: 'latency' });
    await context.breathe();
  }
  for (const one of timed) await one.denoiser.release();
  return timed.map(({ label, simulated: isSimulated, ms }) => ({
    label,
    medianMs: quantile(ms, 0.5),
    fastestMs: quantile(ms, 0),
    slowestMs: quantile(ms, 1),
    calls: ms.length,
    kernels: `float32 kernels of the ${executor.device} provider${isSimulated ? ', codes exact' : ''}`,
    device: executor.device,
    threads: input.compute.threads,
    simulated: isSimulated,
  }));
}

async function timedOf(
  executor: EngineExecutor,
  pipeline: Pipeline,
  denoiser: Runnable,
  label: string,
  simulated: boolean,
): Promise<Timed> {
  const { conditioning } = await encodeConditions(executor, pipeline, [''], 1);
  const conditions = conditioning === null ? null : concatRows(Array.from({ length: BATCH }, () => conditioning));
  const sample = startNoise(pipeline, 0, 0, BATCH);
  const feeds = denoiserFeeds(pipeline.denoiser, {
    sample,
    timestep: 500,
    conditioning: conditions,
    classLabels: null,
  });
  return { label, simulated, denoiser, feeds, output: pipeline.denoiser.output, ms: [] };
}
