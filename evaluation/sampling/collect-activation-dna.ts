import type { Executor, Runnable } from '../../models/executor.js';
import type { Graph } from '../../models/onnx/graph.js';
import { writeModel } from '../../models/onnx/model-proto.js';
import { floatOutput } from '../../models/pipelines/encode-prompts.js';
import type { Pipeline } from '../../models/pipelines/pipeline.js';
import type { ActivationDrift } from '../report/report-data.js';
import {
  type ActivationDna,
  type ActivationRanges,
  activationDrift,
  activationRanges,
  DNA_BINS,
} from '../statistics/activation-dna.js';
import { activationHistogramGraph, activationRangeGraph } from './activation-graphs.js';
import { type DenoiserPairs, feedsOfPairs, pairsByStep } from './denoiser-pairs.js';
import type { ComparedLayer } from './layer-errors.js';

export interface ActivationDriftOptions {
  readonly executor: Executor;
  /** Both denoisers; not changed. */
  readonly float: Graph;
  readonly candidate: Graph;
  readonly pipeline: Pipeline;
  readonly pairs: DenoiserPairs;
  readonly layers: readonly ComparedLayer[];
  /** Calls of one run. */
  readonly rows: number;
  /** After every run; `total` counts the runs of all three networks. */
  readonly onProgress?: (done: number, total: number) => Promise<void>;
}

/**
 * How far a candidate's activations drifted from the float ones', layer by layer and timestep by timestep, on the calls of all
 * pairs: ranges of the float network, then the histograms of both, one session at a time.
 */
export async function measureActivationDrift(options: ActivationDriftOptions): Promise<ActivationDrift> {
  const { float, candidate, layers, pairs, rows } = options;
  const runs = pairsByStep(pairs).reduce((sum, { indices }) => sum + Math.ceil(indices.length / rows), 0);
  let done = 0;
  const counted = { ...options, onProgress: async () => options.onProgress?.(++done, 3 * runs) };
  const expected = layers.map((layer) => layer.float);
  const ranges = await collectRanges(float, expected, counted);
  const of = (graph: Graph, values: readonly string[]) => collectActivationDna(graph, values, ranges, counted);
  return activationDrift(
    await of(float, expected),
    await of(
      candidate,
      layers.map((layer) => layer.candidate),
    ),
  );
}

type Calls = Pick<ActivationDriftOptions, 'executor' | 'pipeline' | 'pairs' | 'layers' | 'rows'> & {
  readonly onProgress: () => Promise<void>;
};

/** Bins for every layer from the values of the float network on all pairs. */
async function collectRanges(graph: Graph, values: readonly string[], calls: Calls): Promise<ActivationRanges> {
  const low = new Float64Array(values.length).fill(Number.POSITIVE_INFINITY);
  const high = new Float64Array(values.length).fill(Number.NEGATIVE_INFINITY);
  await eachRun(activationRangeGraph(graph, values), calls, async (runnable, indices) => {
    const [lowName = '', highName = ''] = runnable.outputNames;
    const found = await runnable.run(feedsOfPairs(calls.pipeline, calls.pairs, indices));
    for (const [i, value] of floatOutput(found, lowName).data.entries()) low[i] = Math.min(low[i] as number, value);
    for (const [i, value] of floatOutput(found, highName).data.entries()) high[i] = Math.max(high[i] as number, value);
  });
  return activationRanges(low, high);
}

/** Histograms of the layers' outputs, called `values` in this graph, at every timestep that has pairs. */
export async function collectActivationDna(
  graph: Graph,
  values: readonly string[],
  ranges: ActivationRanges,
  calls: Calls,
): Promise<ActivationDna> {
  const steps = pairsByStep(calls.pairs).map(({ step }) => step);
  const counts = new Float64Array(values.length * steps.length * DNA_BINS);
  await eachRun(activationHistogramGraph(graph, values, ranges), calls, async (runnable, indices, step) => {
    const [name = ''] = runnable.outputNames;
    const found = (await runnable.run(feedsOfPairs(calls.pipeline, calls.pairs, indices)))[name]?.data as BigInt64Array;
    for (let layer = 0; layer < values.length; layer += 1) {
      const start = (layer * steps.length + step) * DNA_BINS;
      for (let bin = 0; bin < DNA_BINS; bin += 1) {
        counts[start + bin] = (counts[start + bin] as number) + Number(found[layer * DNA_BINS + bin]);
      }
    }
  });
  return {
    layers: calls.layers.map(({ name }) => name),
    timesteps: steps.map((step) => calls.pairs.timesteps[step] ?? 0),
    ranges,
    counts,
  };
}

/** Runs the graph on all pairs, a few of one timestep at a time; `step` counts the timesteps that have pairs. */
async function eachRun(
  graph: Graph,
  { executor, pairs, rows, onProgress }: Calls,
  run: (runnable: Runnable, indices: readonly number[], step: number) => Promise<void>,
): Promise<void> {
  const runnable = await executor.open(writeModel(graph));
  for (const [step, { indices }] of pairsByStep(pairs).entries()) {
    for (let start = 0; start < indices.length; start += rows) {
      await run(runnable, indices.slice(start, start + rows), step);
      await onProgress();
    }
  }
  await runnable.release();
}
