import { type Attribute, attribute, DATA_TYPE, type Graph, intAttribute } from '../../models/onnx/graph.js';
import type { NodeEmitter } from '../../models/onnx/node-emitter.js';
import type { Shapes } from '../../models/onnx/shape-inference.js';
import { float32, tensor } from '../../models/tensors/tensor.js';
import type { ActivationQuantizer } from '../activation-quantizers.js';
import { packNibbles } from '../formats/pack.js';
import type { PlannedLayer, PlannedWeight } from '../layer-plan.js';
import type { ActivationParameters, QuantizedParameters, WeightParameters } from '../quantized-parameters.js';
import { roundToCodes } from '../rounding/round-nearest.js';
import { weightSpread } from '../rounding/weight-scales.js';
import { emitDynamicRange } from './dynamic-range.js';
import { emitAroundFirst } from './float-first.js';
import type { Lowering } from './insert-quantizers.js';
import { emitLogProbabilities } from './log-probabilities.js';
import { halfConstant } from './low-rank-branch.js';
import { clampToGrid, containerType, quantizeDequantize } from './quantize-dequantize.js';
import { spreadQdq, type TableContext } from './spread-qdq.js';
import { rowsKey, TimestepIndex } from './timestep-index.js';

/**
 * Opset-21 QuantizeLinear / DequantizeLinear with packed INT4 initializers: standard operators only. What onnxruntime 1.30
 * gets wrong under its default options, or at all, is avoided:
 *
 * - A dequantized [K, N] weight that a MatMul or Gemm reads becomes MatMulNBits with 8-bit activations. Such weights are
 *   stored as [1, K, N]. A Gemm that reads its weight as [N, K] (transB) is left alone.
 * - Operators between two dequantized 8-bit operands become integer kernels that know one scale per tensor or output channel
 *   and fail on any other. Groups of 8-bit weights pass a Sum of themselves alone, which is left in place (Identity is removed
 *   and DequantizeLinear moved past a Reshape); 8-bit activations with several scales pass a Squeeze.
 * - The memory planner takes 4-bit codes for as large as 8-bit codes of the same dims, gives the latter the buffer of the
 *   former, and the upper half is written behind its end. 8-bit codes therefore have an axis of 1 more.
 *   Single-scale quantizers would be moved past Unsqueeze, so theirs comes from Expand and goes by a ReduceMax over it.
 */
export interface QdqContext {
  readonly graph: Graph;
  readonly shapes: Shapes;
  readonly parameters: QuantizedParameters;
  /** The graph's timestep input; null when it has none. */
  readonly timestep: string | null;
}

export function qdqLowering(context: QdqContext, emitter: NodeEmitter): Lowering {
  const { graph, shapes, parameters, timestep } = context;
  const index = timestep === null ? null : new TimestepIndex(emitter, timestep, parameters.timesteps);
  return {
    norms: parameters.norms,
    branches: { byLayer: parameters.branches, constant: halfConstant(emitter) },
    activation: (quantizer) =>
      emitAroundFirst(quantizer, shapes.dimsOf(quantizer.value), emitter, (inner, dims) =>
        activationQdq(inner, parameters.activations.get(quantizer.id), { index, dims }, emitter),
      ),
    weight(layer, weight) {
      const found = parameters.weights.get(layer.name);
      if (found === undefined) throw new Error(`no weight for layer ${layer.name}`);
      return weightDq(graph, layer, weight, found, shapes, emitter);
    },
  };
}

function activationQdq(
  quantizer: ActivationQuantizer,
  found: ActivationParameters | undefined,
  context: TableContext,
  emitter: NodeEmitter,
): string {
  const { dims } = context;
  if (quantizer.scheme.grid !== undefined) {
    return emitLogProbabilities(quantizer, dims, emitter, (steps, range) => tableQdq(steps, range, context, emitter));
  }
  if (quantizer.scheme.ranges === 'dynamic') return dynamicQdq(quantizer, dims, emitter);
  if (found === undefined) throw new Error(`no range for quantizer ${quantizer.id} (${quantizer.value})`);
  if (found.spread !== undefined) return spreadQdq(quantizer, found, context, emitter);
  return tableQdq(quantizer, found, context, emitter);
}

function dynamicQdq(quantizer: ActivationQuantizer, dims: readonly number[], emitter: NodeEmitter): string {
  const { bits } = quantizer.scheme;
  const range = emitDynamicRange(quantizer, dims, emitter, { lifted: bits > 4 });
  const axis = attribute.int(range.axis);
  let zeroPoint: string | null = null;
  let zero: string | null = null;
  if (range.negatedMin !== null) {
    const single = { axis, block_size: attribute.int(1) };
    const type = { output_dtype: attribute.int(containerType(bits, false)) };
    zeroPoint = emitter.emit('QuantizeLinear', [range.negatedMin, range.scale], { ...single, ...type }, 'zero');
    if (bits !== 4 && bits !== 8) zero = emitter.emit('Round', [emitter.emit('Div', [range.negatedMin, range.scale])]);
  }
  const value = clampToGrid(range.grouped, quantizer.scheme, range.scale, zero, emitter);
  const spread = { axis, block_size: attribute.int(range.blockSize) };
  return range.restore(quantizeDequantize(value, { scale: range.scale, zeroPoint, spread }, emitter, bits));
}

function tableQdq(
  quantizer: ActivationQuantizer,
  found: ActivationParameters,
  { index, dims }: TableContext,
  emitter: NodeEmitter,
): string {
  const { bits } = quantizer.scheme;
  const rows =
    found.scale.data.length > 1 && index !== null ? index.rowsOf(quantizer.value, rowsKey(quantizer, dims)) : null;
  emitter.at(quantizer.id);
  const { scale, zeroPoint, zero } = pickedRange(quantizer, found, rows, emitter);
  const column = emitter.int64s([-1, ...dims.slice(1).map(() => 1)]);
  const across = (one: string): string =>
    rows === null || bits === 4 || bits === 8 ? one : emitter.emit('Reshape', [one, column]);
  const bounds = zero === null ? null : across(zero);
  const value = clampToGrid(quantizer.value, quantizer.scheme, across(scale), bounds, emitter);
  const spread: Record<string, Attribute> = rows === null ? {} : { axis: attribute.int(0) };
  const coded = (from: string): string => quantizeDequantize(from, { scale, zeroPoint, spread }, emitter, bits);
  if (bits <= 4) return coded(value);
  if (rows === null) {
    const lifted = emitter.emit('Expand', [value, emitter.int64s([1, ...dims.map(() => 1)])]);
    return emitter.emit('ReduceMax', [coded(lifted), emitter.int64s([0])], { keepdims: attribute.int(0) });
  }
  const last = emitter.int64s([-1]);
  return emitter.emit('Squeeze', [coded(emitter.emit('Unsqueeze', [value, last])), last]);
}

/**
 * Scale and zero point of every row, or of the whole tensor when there are no rows; `zero` is the zero point as float where
 * the grid is smaller than its container. No 8-bit tensor here has the dims of a 4-bit one: 4-bit zero points are cast from
 * float, 8-bit ones are picked as a column that a Reshape, which shares its memory, makes flat.
 */
function pickedRange(
  { scheme: { bits, symmetric } }: ActivationQuantizer,
  found: ActivationParameters,
  rows: string | null,
  emitter: NodeEmitter,
): { readonly scale: string; readonly zeroPoint: string | null; readonly zero: string | null } {
  const pick = (table: string, label: string): string =>
    rows === null
      ? emitter.emit('Reshape', [table, emitter.int64s([])], {}, label)
      : emitter.emit('Gather', [table, rows], { axis: attribute.int(0) }, label);
  const scale = pick(emitter.constant(found.scale, 'scales'), 'scale');
  if (symmetric) return { scale, zeroPoint: null, zero: null };
  if (bits <= 4) {
    const zero = pick(emitter.constant(found.zeroPoint, 'zeros'), 'zero');
    const zeroPoint = emitter.emit('Cast', [zero], { to: attribute.int(DATA_TYPE.uint4) }, 'zero4');
    return { scale, zeroPoint, zero: bits === 4 ? null : zero };
  }
  const entries = found.zeroPoint.data.length;
  const table = tensor('uint8', [entries, 1], Uint8Array.from(found.zeroPoint.data));
  const picked = pick(emitter.constant(table, 'zeros'), 'zero');
  const zeroPoint = rows === null ? picked : emitter.emit('Reshape', [picked, emitter.int64s([-1])], {}, 'zero8');
  const zero = bits === 8 ? null : emitter.emit('Cast', [zeroPoint], { to: attribute.int(DATA_TYPE.float32) });
  return { scale, zeroPoint, zero };
}

function weightDq(
  graph: Graph,
  layer: PlannedLayer,
  weight: PlannedWeight,
  found: WeightParameters,
  shapes: Shapes,
  emitter: NodeEmitter,
): string {
  const codes = roundToCodes(found.weight, found.scales, weight);
  const spread = weightSpread(weight);
  const { lift, flatten } = storage(graph, layer, weight, shapes);
  const ones = new Array<number>(lift).fill(1);
  const small = weight.scheme.bits <= 4;
  const codesName = graph.addInitializer({
    name: emitter.unique('codes'),
    type: small ? 'int4' : 'int8',
    dims: [...ones, ...weight.dims],
    raw: small ? packNibbles(codes) : new Uint8Array(codes.buffer, codes.byteOffset, codes.byteLength),
  });
  const blockSize = spread.blockSize ?? null;
  const scaleDims = blockSize === null ? found.scales.dims : [...ones, ...found.scales.dims];
  const scales = emitter.constant(float32(scaleDims, found.scales.data), 'scales');
  const where: Record<string, Attribute> = { axis: attribute.int((spread.axis ?? 0) + lift) };
  if (blockSize !== null) where.block_size = attribute.int(blockSize);
  if (weight.bias !== null && found.bias !== null) replaceBias(graph, weight.bias, found);
  const value = emitter.emit('DequantizeLinear', [codesName, scales], where, 'weight');
  const flat = flatten ? emitter.emit('Reshape', [value, emitter.int64s(weight.dims)]) : value;
  return !small && blockSize !== null ? emitter.emit('Sum', [flat], {}, 'apart') : flat;
}

/**
 * Whether a weight is stored with a leading axis of 1, and whether a Reshape takes that away again: a Gemm, a Transpose in
 * between and a MatMul of two axes need theirs as planned, and onnxruntime does not look through the Reshape of 4-bit codes.
 */
function storage(
  graph: Graph,
  layer: PlannedLayer,
  weight: PlannedWeight,
  shapes: Shapes,
): { readonly lift: 0 | 1; readonly flatten: boolean } {
  const reader = graph.nodeByName(layer.node);
  if (reader === undefined || layer.opType === 'Conv') return { lift: 0, flatten: false };
  const isDirect = reader.inputs.includes(weight.initializer);
  if (layer.opType === 'Gemm' && isDirect && intAttribute(reader, 'transB', 0) !== 0)
    return { lift: 0, flatten: false };
  const needsTwoAxes = layer.opType === 'Gemm' || !isDirect || shapes.dimsOf(layer.output).length < 3;
  return { lift: 1, flatten: needsTwoAxes };
}

function replaceBias(graph: Graph, name: string, { bias }: WeightParameters): void {
  const before = graph.initializers.get(name);
  if (before === undefined || bias === null) throw new Error(`bias ${name} is not an initializer`);
  const raw = new Uint8Array(bias.data.buffer, bias.data.byteOffset, bias.data.byteLength);
  graph.addInitializer({ ...before, raw });
}
