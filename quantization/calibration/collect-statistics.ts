import type { Executor, Feeds } from '../../models/executor.js';
import type { Graph } from '../../models/onnx/graph.js';
import { writeModel } from '../../models/onnx/model-proto.js';
import { denoiserFeeds } from '../../models/pipelines/denoiser-feeds.js';
import type { Denoiser } from '../../models/pipelines/pipeline.js';
import { gaussianTensor, permutation } from '../../models/tensors/random.js';
import { concatRows, float32 } from '../../models/tensors/tensor.js';
import type { PlannedLayer, QuantizationPlan } from '../layer-plan.js';
import type { QuantizedParameters } from '../quantized-parameters.js';
import { batchOf, branchCount, type CalibrationItem, type CalibrationSet, trajectoryCount } from './calibration-set.js';
import { LayerStatisticsSum } from './layer-statistics.js';
import { type StatisticsGraph, type StatisticsGraphSpec, statisticsGraph } from './statistics-graph.js';

export interface CollectStatisticsOptions {
  readonly executor: Executor;
  /** The transformed float denoiser. */
  readonly graph: Graph;
  readonly plan: QuantizationPlan;
  readonly parameters: QuantizedParameters;
  readonly calibration: CalibrationSet;
  readonly denoiser: Denoiser;
  readonly layers: readonly PlannedLayer[];
  readonly withSensitivity: boolean;
  /** What a squared error of a call's output counts; absent: every call the same. Needs `withSensitivity`. */
  readonly callWeight?: (item: CalibrationItem) => number;
  readonly seed: number;
  /** What is summed; default: second moments of inputs, errors and gradients. */
  readonly build?: (spec: StatisticsGraphSpec) => StatisticsGraph;
  /** Calls per run; divides CALLS_PER_TIMESTEP. */
  readonly batchSize: number;
  /** Goes on from here: what so many calls have added; a multiple of `batchSize`. */
  readonly resume?: { readonly sum: LayerStatisticsSum; readonly calls: number };
  /** Counts calls. */
  readonly onBatch?: (done: number, total: number, sum: LayerStatisticsSum) => Promise<void>;
}

/** Calls of the denoiser per calibrated timestep: 20 timesteps give moments of tens of thousands of pixels. */
export const CALLS_PER_TIMESTEP = 8;

/** Streams of the calibration seed for the choice of trajectories and for probes. */
const CHOICE_STREAM = 20;
const PROBE_STREAM = 2 ** 34;

/** Sums of second moments over a draw of calibration inputs, a few of every calibrated timestep. */
export async function collectStatistics(options: CollectStatisticsOptions): Promise<LayerStatisticsSum> {
  const batches = statisticsBatches(options);
  const sum = options.resume?.sum ?? new LayerStatisticsSum();
  const built = (options.build ?? statisticsGraph)({
    ...options,
    timestep: options.denoiser.inputs.timestep,
    output: options.denoiser.output,
    feedDims: statisticsDims(options),
  });
  const runnable = await options.executor.open(writeModel(built.graph));
  try {
    const { batchSize } = options;
    for (let at = (options.resume?.calls ?? 0) / batchSize; at < batches.length; at += 1) {
      const feeds = {
        ...feedsOf(options, batches[at] ?? []),
        ...probeOf(built, options, batches[at] ?? [], at * batchSize),
      };
      const known = new Set(runnable.inputNames);
      const found = await runnable.run(Object.fromEntries(Object.entries(feeds).filter(([name]) => known.has(name))));
      for (const [key, { value, count }] of built.outputs) {
        const tensor = found[value];
        if (tensor === undefined) throw new RangeError(`${value} was not computed`);
        sum.add(key, tensor, count);
      }
      await options.onBatch?.((at + 1) * batchSize, batches.length * batchSize, sum);
    }
    return sum;
  } finally {
    await runnable.release();
  }
}

/** Dims of the denoiser's feeds in one run. */
export function statisticsDims(options: BatchOptions): Record<string, readonly number[]> {
  const feeds = feedsOf(options, statisticsBatches(options)[0] ?? []);
  return Object.fromEntries(Object.entries(feeds).map(([name, value]) => [name, value.dims]));
}

type BatchOptions = Pick<CollectStatisticsOptions, 'calibration' | 'denoiser' | 'seed' | 'batchSize'>;

/** Feeds of the denoiser for every batch. */
export function statisticsFeeds(options: BatchOptions): Feeds[] {
  return statisticsBatches(options).map((items) => feedsOf(options, items));
}

/** Batches of one timestep each; other trajectories at every timestep. */
function statisticsBatches({ calibration, seed, batchSize }: BatchOptions): CalibrationItem[][] {
  const order = permutation(seed, CHOICE_STREAM, trajectoryCount(calibration));
  const branches = branchCount(calibration);
  return calibration.timesteps.flatMap((_, step) => {
    const items = Array.from({ length: CALLS_PER_TIMESTEP }, (_unused, call): CalibrationItem => {
      const drawn = Math.floor((step * CALLS_PER_TIMESTEP + call) / branches);
      return { trajectory: order[drawn % order.length] ?? 0, step, branch: call % branches };
    });
    return Array.from({ length: Math.floor(items.length / batchSize) }, (_unused, at) =>
      items.slice(at * batchSize, (at + 1) * batchSize),
    );
  });
}

function feedsOf({ calibration, denoiser }: BatchOptions, items: readonly CalibrationItem[]): Feeds {
  const batch = batchOf(calibration, items);
  const [timestep = 0] = batch.timesteps;
  return denoiserFeeds(denoiser, { ...batch, timestep, classLabels: null });
}

/** v of a batch, scaled by the root of each call's weight. A call has its own noise, whatever batch it is in. */
function probeOf(
  { probe }: StatisticsGraph,
  { seed, callWeight }: CollectStatisticsOptions,
  items: readonly CalibrationItem[],
  firstCall: number,
): Feeds {
  if (probe === null) return {};
  const dims = [1, ...probe.dims.slice(1)];
  const rows = items.map((item, row) => {
    const noise = gaussianTensor(seed, PROBE_STREAM + firstCall + row, dims);
    const scale = callWeight === undefined ? 1 : Math.sqrt(callWeight(item));
    return float32(
      dims,
      noise.data.map((value) => value * scale),
    );
  });
  return { [probe.name]: concatRows(rows) };
}

/**
 * What a call's squared error does to the guided prediction u + g (c − u) and, by the step weights r_t, to the final latents,
 * where the errors of both branches are independent: r_t (1 − g)² for the negative branch, r_t g² for the prompt's.
 */
export function guidedCallWeight(calibration: CalibrationSet, guidance: number): (item: CalibrationItem) => number {
  const isGuided = branchCount(calibration) === 2;
  return ({ step, branch }) => {
    const factor = isGuided ? (branch === 0 ? 1 - guidance : guidance) : 1;
    return (calibration.stepWeights[step] ?? 1) * factor ** 2;
  };
}
