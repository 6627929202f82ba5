import type { Executor } from '../../models/executor.js';
import { attribute, type Graph } from '../../models/onnx/graph.js';
import { writeModel } from '../../models/onnx/model-proto.js';
import { NodeEmitter } from '../../models/onnx/node-emitter.js';
import { removeDeadCode } from '../../models/onnx/remove-dead-code.js';
import { inferShapes } from '../../models/onnx/shape-inference.js';
import type { Denoiser } from '../../models/pipelines/pipeline.js';
import { permutation } from '../../models/tensors/random.js';
import {
  asFloat32,
  elementCount,
  type Float32Tensor,
  float32,
  int64,
  type Tensor,
} from '../../models/tensors/tensor.js';
import type { CalibrationSet } from './calibration-set.js';
import { CALLS_PER_TIMESTEP, statisticsFeeds } from './collect-statistics.js';

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
  readonly onBatch?: (done: number, total: number) => Promise<void>;
}

/** Positions of a value that are kept per calibrated timestep. */
const ROWS_PER_TIMESTEP = 32;

/** Stream of the calibration seed for the choice of positions. */
const ROWS_STREAM = 30;

/**
 * [positions, C] of every source by its value: channels of positions drawn at random, as many at every calibrated timestep, each
 * of other trajectories; in float arithmetic.
 */
export async function sampleRows(options: SampleRowsOptions): Promise<Map<string, Float32Tensor>> {
  const { executor, calibration, denoiser, seed, sources } = options;
  const batches = statisticsFeeds({ calibration, denoiser, seed, batchSize: CALLS_PER_TIMESTEP });
  const [first = {}] = batches;
  const dims = Object.fromEntries(Object.entries(first).map(([name, value]) => [name, (value as Tensor).dims]));
  const { graph, outputs } = rowsGraph(options, dims);
  const runnable = await executor.open(writeModel(graph));
  const parts = new Map<string, Float32Array[]>(sources.map(({ value }) => [value, []]));
  try {
    const known = new Set(runnable.inputNames);
    for (const [index, feeds] of batches.entries()) {
      const found = await runnable.run(Object.fromEntries(Object.entries(feeds).filter(([name]) => known.has(name))));
      for (const [value, output] of outputs) {
        const rows = found[output];
        if (rows === undefined) throw new RangeError(`${output} was not computed`);
        parts.get(value)?.push(asFloat32(rows).data);
      }
      await options.onBatch?.(index + 1, batches.length);
    }
  } finally {
    await runnable.release();
  }
  return new Map(
    [...outputs].map(([value, output]) => {
      const channels = Number(graph.outputs.find(({ name }) => name === output)?.shape?.[1] ?? 0);
      return [value, joined(parts.get(value) ?? [], channels)];
    }),
  );
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

/** The float denoiser with some positions of every source as its only outputs, by value. */
function rowsGraph(
  { graph: float, sources, seed }: SampleRowsOptions,
  feedDims: Readonly<Record<string, readonly number[]>>,
): { graph: Graph; outputs: Map<string, string> } {
  const graph = float.clone();
  const shapes = inferShapes(graph, feedDims);
  const emitter = new NodeEmitter(graph, 'rows');
  const outputs = new Map<string, string>();
  graph.outputs = [];
  for (const [index, { value, channelAxis }] of sources.entries()) {
    const dims = shapes.dimsOf(value);
    const axis = (channelAxis + dims.length) % dims.length;
    const channels = dims[axis] ?? 1;
    const positions = elementCount(dims) / channels;
    const order = [...dims.map((_, at) => at).filter((at) => at !== axis), axis];
    const last = emitter.emit('Transpose', [value], { perm: attribute.ints(order) });
    const rows = emitter.emit('Reshape', [last, emitter.int64s([-1, channels])]);
    const drawn = Array.from(permutation(seed, ROWS_STREAM + index, positions)).slice(0, ROWS_PER_TIMESTEP);
    const chosen = emitter.constant(int64([drawn.length], drawn), 'positions');
    const output = emitter.emit('Gather', [rows, chosen], { axis: attribute.int(0) }, 'rows');
    graph.outputs.push({ name: output, type: 'float32', shape: [drawn.length, channels] });
    outputs.set(value, output);
  }
  graph.valueInfos.clear();
  graph.invalidate();
  removeDeadCode(graph);
  return { graph, outputs };
}
