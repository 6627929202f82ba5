import type { Executor } from '../../../models/executor.js';
import { attribute, DATA_TYPE, Graph } from '../../../models/onnx/graph.js';
import { writeModel } from '../../../models/onnx/model-proto.js';
import { NodeEmitter } from '../../../models/onnx/node-emitter.js';
import { inferShapes, type Shapes } from '../../../models/onnx/shape-inference.js';
import { asFloat32, type Float32Tensor, float32, type Tensor } from '../../../models/tensors/tensor.js';
import type { ActivationQuantizer } from '../../../quantization/activation-quantizers.js';
import { nearestTimestep } from '../../../quantization/calibration/timestep-plan.js';
import type { Lowering } from '../../../quantization/conversion/insert-quantizers.js';
import { floatLowering } from '../../../quantization/conversion/lower-to-float.js';
import { qdqLowering } from '../../../quantization/conversion/lower-to-qdq.js';
import {
  codeRange,
  type GridParameters,
  quantize,
  roundHalfToEven,
  SCALE_EPSILON,
  scaleLayout,
  symmetricDivisor,
} from '../../../quantization/formats/integer-grid.js';
import type { ActivationScheme } from '../../../quantization/layer-plan.js';
import type { ActivationParameters, QuantizedParameters } from '../../../quantization/quantized-parameters.js';

/** One quantizer of a graph input `x`, lowered and run, and what the grid's definition says about it. */
export interface QuantizerCase {
  readonly dims: readonly number[];
  readonly channelAxis: number;
  readonly scheme: ActivationScheme;
  readonly rows?: ActivationQuantizer['rows'];
  readonly timesteps?: readonly number[];
  readonly parameters?: ActivationParameters;
}

export interface Quantized {
  readonly codes: Int32Array;
  readonly values: Float32Array;
}

export interface Reference extends Quantized {
  /** The scale of each value: the distance of two neighbouring codes. */
  readonly steps: Float32Array;
}

export const SCHEME: ActivationScheme = {
  bits: 4,
  symmetric: false,
  ranges: 'dynamic',
  groupSize: null,
  range: 'minmax',
};

export type LoweringName = 'qdq' | 'float';

/** The quantizer's model: inputs `x`, `t`; outputs `codes` (int32; the float lowering's are less the zero point) and `values`. */
export function quantizerModel(one: QuantizerCase, lowering: LoweringName, entries = 1): Uint8Array {
  const graph = new Graph();
  graph.inputs = [
    { name: 'x', type: 'float32', shape: [...one.dims.keys()].map((axis) => `d${axis}`) },
    { name: 't', type: 'float32', shape: [entries] },
  ];
  const shapes = inferShapes(graph, { x: one.dims, t: [entries] });
  const emitter = new NodeEmitter(graph, 'q');
  const quantizer: ActivationQuantizer = {
    id: 'q0',
    value: 'x',
    channelAxis: one.channelAxis,
    rows: one.rows ?? 'batch',
    scheme: one.scheme,
    readers: [],
  };
  const value = loweringOf(lowering, graph, shapes, parametersOf(one), emitter).activation(quantizer, emitter.at('q0'));
  const codes = graph.nodes.find((node) => node.name === 'q0.codes')?.outputs[0] ?? '';
  emitter.at('out').emit('Cast', [codes], { to: attribute.int(DATA_TYPE.int32) }, 'codes');
  emitter.at('out').emit('Identity', [value], {}, 'values');
  graph.outputs = [
    { name: 'out.codes', type: 'int32', shape: null },
    { name: 'out.values', type: 'float32', shape: null },
  ];
  return writeModel(graph);
}

function parametersOf({ timesteps = [], parameters }: QuantizerCase): QuantizedParameters {
  const activations = new Map(parameters === undefined ? [] : [['q0', parameters] as const]);
  return { timesteps, weights: new Map(), activations, branches: new Map() };
}

export function loweringOf(
  name: LoweringName,
  graph: Graph,
  shapes: Shapes,
  parameters: QuantizedParameters,
  emitter: NodeEmitter,
): Lowering {
  const timestep = parameters.timesteps.length > 0 ? 't' : null;
  if (name === 'qdq') return qdqLowering({ graph, shapes, parameters, timestep }, emitter);
  const context = { shapes, parameters, timestep, trainedLayers: new Set<string>(), trainRanges: false };
  return floatLowering(graph, context, emitter);
}

/** Runs the lowered quantizer. */
export async function runQuantizer(
  executor: Executor,
  one: QuantizerCase,
  x: Float32Tensor,
  options: {
    readonly lowering?: LoweringName;
    readonly optimization?: 'disabled' | 'all';
    readonly timestep?: readonly number[];
  } = {},
): Promise<Quantized> {
  const { lowering = 'qdq', optimization = 'all', timestep = [0] } = options;
  const runnable = await executor.open(quantizerModel(one, lowering, timestep.length), { optimization });
  try {
    const feeds: Record<string, Tensor> = { x };
    if (runnable.inputNames.includes('t')) feeds.t = float32([timestep.length], timestep);
    const outputs = await runnable.run(feeds);
    return {
      codes: Int32Array.from(outputs['out.codes']?.data as Int32Array),
      values: asFloat32(outputs['out.values'] as Tensor).data,
    };
  } finally {
    await runnable.release();
  }
}

/** Codes and values by the definition: static and table ranges row by row, dynamic ones group by group. */
export function referenceQuantized(one: QuantizerCase, x: Float32Tensor, timestep: readonly number[] = [0]): Reference {
  return one.scheme.ranges === 'dynamic' ? dynamicReference(one, x) : tableReference(one, x, timestep);
}

function tableReference(one: QuantizerCase, x: Float32Tensor, timestep: readonly number[]): Reference {
  const { parameters, timesteps = [], scheme } = one;
  if (parameters === undefined) throw new Error('a table needs parameters');
  const rows = x.dims[0] ?? 1;
  const isTable = parameters.scale.data.length > 1;
  const entryOf = (row: number): number =>
    isTable ? nearestTimestep(timesteps, timestep[Math.floor((row * timestep.length) / rows)] ?? 0) : 0;
  const entries = Array.from({ length: rows }, (_, row) => entryOf(row));
  return onGrid(x, {
    bits: scheme.bits,
    signed: scheme.symmetric,
    axis: 0,
    scale: float32(
      [rows],
      entries.map((entry) => parameters.scale.data[entry] ?? 0),
    ),
    zeroPoint: entries.map((entry) => parameters.zeroPoint.data[entry] ?? 0),
  });
}

function dynamicReference({ scheme, channelAxis }: QuantizerCase, x: Float32Tensor): Reference {
  const blockSize = scheme.groupSize ?? x.dims[channelAxis] ?? 1;
  const layout = scaleLayout(x.dims, { axis: channelAxis, blockSize });
  const scale = new Float32Array(layout.count);
  const zeroPoint = new Int32Array(layout.count);
  for (let group = 0; group < layout.count; group += 1) {
    const { offset, countB, strideB } = layout.membersOf(group);
    const members = Array.from({ length: countB }, (_, index) => x.data[offset + index * strideB] ?? 0);
    const found = scheme.symmetric ? symmetricGroup(members, scheme.bits) : affineGroup(members, scheme.bits);
    scale[group] = found.scale;
    zeroPoint[group] = found.zeroPoint;
  }
  const grid = { bits: scheme.bits, signed: scheme.symmetric, axis: channelAxis, blockSize };
  return onGrid(x, { ...grid, scale: float32(layout.dims, scale), zeroPoint });
}

/** float32 at every step, as the graph computes it. */
function symmetricGroup(members: readonly number[], bits: number): { scale: number; zeroPoint: number } {
  const largest = members.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const scale = Math.fround(largest * Math.fround((1 + 2 ** -10) / symmetricDivisor(bits)));
  return { scale: Math.max(scale, SCALE_EPSILON), zeroPoint: 0 };
}

function affineGroup(members: readonly number[], bits: number): { scale: number; zeroPoint: number } {
  const { max } = codeRange({ bits, signed: false });
  const high = members.reduce((most, value) => Math.max(most, value), 0);
  const low = members.reduce((least, value) => Math.min(least, value), 0);
  const scale = Math.max(SCALE_EPSILON, Math.fround(Math.fround(high - low) * Math.fround(1 / max)));
  return { scale, zeroPoint: Math.min(max, roundHalfToEven(Math.fround(-low / scale))) };
}

function onGrid(x: Float32Tensor, grid: GridParameters): Reference {
  const codes = quantize(x, grid);
  const layout = scaleLayout(x.dims, grid);
  const values = new Float32Array(codes.length);
  const steps = new Float32Array(codes.length);
  for (let index = 0; index < layout.count; index += 1) {
    const { offset, countA, strideA, countB, strideB } = layout.membersOf(index);
    for (let a = 0; a < countA; a += 1) {
      for (let b = 0; b < countB; b += 1) {
        const at = offset + a * strideA + b * strideB;
        steps[at] = grid.scale.data[index] ?? 0;
        values[at] = ((codes[at] ?? 0) - (grid.zeroPoint?.[index] ?? 0)) * (grid.scale.data[index] ?? 0);
      }
    }
  }
  return { codes, values, steps };
}

/** How far apart two lists of quantized values are, in codes. */
export function codeDifference(
  a: Float32Array,
  b: Float32Array,
  steps: Float32Array,
): { readonly largest: number; readonly share: number } {
  if (a.length !== b.length) throw new RangeError(`${a.length} values against ${b.length}`);
  let largest = 0;
  let differing = 0;
  for (let index = 0; index < a.length; index += 1) {
    const difference = Math.abs((a[index] ?? 0) - (b[index] ?? 0)) / (steps[index] ?? 1);
    largest = Math.max(largest, difference);
    if (difference > 0) differing += 1;
  }
  return { largest, share: differing / Math.max(1, a.length) };
}
