import type { Executor, Feeds } from '../../models/executor.js';
import { attribute, type Graph } from '../../models/onnx/graph.js';
import { writeModel } from '../../models/onnx/model-proto.js';
import { NodeEmitter } from '../../models/onnx/node-emitter.js';
import { removeDeadCode } from '../../models/onnx/remove-dead-code.js';
import { inferShapes } from '../../models/onnx/shape-inference.js';
import type { Denoiser } from '../../models/pipelines/pipeline.js';
import { uniforms } from '../../models/tensors/random.js';
import {
  asFloat32,
  elementCount,
  type Float32Tensor,
  float32,
  int64,
  type Tensor,
} from '../../models/tensors/tensor.js';
import type { CalibrationSet } from './calibration-set.js';
import { statisticsFeeds } from './collect-statistics.js';

/** A value of the denoiser, and the axis of its channels. */
export interface RowSource {
  readonly value: string;
  readonly channelAxis: number;
}

export interface SampleRowsOptions {
  readonly executor: Executor;
  /** The transformed float denoiser. */
  readonly graph: Graph;
  readonly calibration: CalibrationSet;
  readonly denoiser: Denoiser;
  readonly sources: readonly RowSource[];
  readonly seed: number;
  /** Calls per run; divides CALLS_PER_TIMESTEP. The rows do not depend on it. */
  readonly batchSize: number;
  /** Counts calls. */
  readonly onBatch?: (done: number, total: number) => Promise<void>;
}

/** Positions of a value that are kept per call: 32 for each calibrated timestep. */
const ROWS_PER_CALL = 4;

/** Stream of the calibration seed for the choice of positions. */
const ROWS_STREAM = 2 ** 35;

/**
 * [positions, C] of every source by its value: channels of positions drawn at random, as many at every calibrated timestep, each
 * of other trajectories; in float arithmetic.
 */
export async function sampleRows(options: SampleRowsOptions): Promise<Map<string, Float32Tensor>> {
  const { executor, calibration, denoiser, seed, batchSize } = options;
  const batches = statisticsFeeds({ calibration, denoiser, seed, batchSize });
  const [first = {}] = batches;
  const dims = Object.fromEntries(Object.entries(first).map(([name, value]) => [name, (value as Tensor).dims]));
  const { graph, taps } = rowsGraph(options, dims);
  const runnable = await executor.open(writeModel(graph));
  const parts = taps.map((): Float32Array[] => []);
  try {
    const known = new Set(runnable.inputNames);
    for (const [batch, given] of batches.entries()) {
      const feeds = { ...given, ...positionsOf(options, taps, batch) };
      const found = await runnable.run(Object.fromEntries(Object.entries(feeds).filter(([name]) => known.has(name))));
      for (const [index, { rows }] of taps.entries()) {
        const taken = found[rows];
        if (taken === undefined) throw new RangeError(`${rows} was not computed`);
        parts[index]?.push(asFloat32(taken).data);
      }
      await options.onBatch?.((batch + 1) * batchSize, batches.length * batchSize);
    }
  } finally {
    await runnable.release();
  }
  return new Map(taps.map(({ value, channels }, index) => [value, joined(parts[index] ?? [], channels)]));
}

function joined(parts: readonly Float32Array[], channels: number): Float32Tensor {
  const data = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    data.set(part, at);
    at += part.length;
  }
  return float32([data.length / channels, channels], data);
}

/** Where rows of one source leave the graph. */
interface Tap {
  readonly value: string;
  readonly channels: number;
  /** Positions of a call, and how many calls a run has: 1 for values that do not grow with the batch. */
  readonly positions: number;
  readonly calls: number;
  /** Input with the drawn positions, and output with their rows. */
  readonly chosen: string;
  readonly rows: string;
}

/** Drawn positions of every tap for a batch: each call draws its own. */
function positionsOf({ seed, batchSize }: SampleRowsOptions, taps: readonly Tap[], batch: number): Feeds {
  const feeds = taps.map(({ positions, calls, chosen }, index) => {
    const drawn = Array.from({ length: calls }, (_, row) => {
      const stream = ROWS_STREAM + (batch * batchSize + row) * taps.length + index;
      return Array.from(uniforms(seed, stream, ROWS_PER_CALL), (one) => row * positions + Math.floor(one * positions));
    }).flat();
    return [chosen, int64([drawn.length], drawn)] as const;
  });
  return Object.fromEntries(feeds);
}

/** The float denoiser with some positions of every source as its only outputs. */
function rowsGraph(
  { graph: float, sources, batchSize }: SampleRowsOptions,
  feedDims: Readonly<Record<string, readonly number[]>>,
): { graph: Graph; taps: readonly Tap[] } {
  const graph = float.clone();
  const shapes = inferShapes(graph, feedDims);
  const emitter = new NodeEmitter(graph, 'rows');
  graph.outputs = [];
  const taps = sources.map(({ value, channelAxis }, index): Tap => {
    const dims = shapes.dimsOf(value);
    const axis = (channelAxis + dims.length) % dims.length;
    const channels = dims[axis] ?? 1;
    const all = elementCount(dims) / channels;
    const calls = axis !== 0 && (dims[0] ?? 1) % batchSize === 0 ? batchSize : 1;
    const order = [...dims.map((_, at) => at).filter((at) => at !== axis), axis];
    const last = emitter.emit('Transpose', [value], { perm: attribute.ints(order) });
    const flat = emitter.emit('Reshape', [last, emitter.int64s([-1, channels])]);
    const chosen = `rows/positions${index}`;
    graph.inputs.push({ name: chosen, type: 'int64', shape: [calls * ROWS_PER_CALL] });
    const rows = emitter.emit('Gather', [flat, chosen], { axis: attribute.int(0) }, 'rows');
    graph.outputs.push({ name: rows, type: 'float32', shape: [calls * ROWS_PER_CALL, channels] });
    return { value, channels, positions: all / calls, calls, chosen, rows };
  });
  graph.valueInfos.clear();
  graph.invalidate();
  removeDeadCode(graph);
  return { graph, taps };
}
