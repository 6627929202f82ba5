import { attribute, type Graph } from '../../models/onnx/graph.js';
import type { NodeEmitter } from '../../models/onnx/node-emitter.js';
import type { Shapes } from '../../models/onnx/shape-inference.js';
import { bytesFromTensor } from '../../models/tensors/tensor.js';
import type { ActivationQuantizer } from '../activation-quantizers.js';
import { biasUnit } from '../finetuning/weight-units.js';
import { codeRange } from '../formats/integer-grid.js';
import type { PlannedLayer, PlannedWeight } from '../layer-plan.js';
import type { ActivationParameters, QuantizedParameters, WeightParameters } from '../quantized-parameters.js';
import { dequantizeCodes, roundToCodes } from '../rounding/round-nearest.js';
import { weightSpread } from '../rounding/weight-scales.js';
import { emitDynamicRange } from './dynamic-range.js';
import { emitAroundFirst } from './float-first.js';
import { emitChosen, emitMembers } from './group-members.js';
import type { Lowering } from './insert-quantizers.js';
import { emitLogProbabilities } from './log-probabilities.js';
import { wholeConstant } from './low-rank-branch.js';
import { rowsKey, TimestepIndex } from './timestep-index.js';

/**
 * The same arithmetic as lower-to-qdq.ts in float operators, differentiable for finetuning on any provider. Codes equal
 * QuantizeLinear's: both divide, then round half to even.
 */
export interface FloatContext {
  readonly shapes: Shapes;
  readonly parameters: QuantizedParameters;
  readonly timestep: string | null;
  /** Layers whose weight, bias and scales become graph inputs (named by `trainableName`), instead of constants. */
  readonly trainedLayers: ReadonlySet<string>;
  /** Whether activation tables become graph inputs. */
  readonly trainRanges: boolean;
  /** Gives what is used instead of the rounded codes of a trained weight: the same numbers with another derivative. */
  readonly weightRounding?: (rounding: WeightRounding) => string;
}

/** Where the codes of a trained weight become whole. */
export interface WeightRounding {
  /** Graph input, dims `dims`. */
  readonly codes: string;
  /** Clamped and rounded, same dims. */
  readonly rounded: string;
  readonly bits: number;
  readonly dims: readonly number[];
  /** Dims in which groups are an axis of their own, and the axes over which elements share a scale there. */
  readonly grouped: readonly number[];
  readonly axes: readonly number[];
}

/** Names of what a training graph takes as inputs. */
export const trainableName = {
  weight: (layer: string): string => `train/${layer}/weight`,
  scales: (layer: string): string => `train/${layer}/scales`,
  bias: (layer: string): string => `train/${layer}/bias`,
  range: (quantizer: string): string => `train/${quantizer}/scale`,
};

export interface FloatLowering extends Lowering {
  /**
   * Quantized value → value for quantizers whose derivative is the identity (straight-through): a dynamic range covers
   * everything, so nothing is ever clipped and only rounding stands between the two. On logarithmic grids p̂ / p stands
   * between them as well, which rounding keeps near 1.
   */
  readonly straightThrough: ReadonlyMap<string, string>;
}

export function floatLowering(graph: Graph, context: FloatContext, emitter: NodeEmitter): FloatLowering {
  const { shapes, parameters, timestep } = context;
  const index = timestep === null ? null : new TimestepIndex(emitter, timestep, parameters.timesteps);
  const straightThrough = new Map<string, string>();
  return {
    straightThrough,
    norms: parameters.norms,
    branches: { byLayer: parameters.branches, constant: wholeConstant(emitter) },
    activation(quantizer) {
      const quantized = emitAroundFirst(quantizer, shapes.dimsOf(quantizer.value), emitter, (inner, dims) =>
        activationFake(graph, inner, { context, index, dims }, emitter),
      );
      if (quantizer.scheme.ranges === 'dynamic') straightThrough.set(quantized, quantizer.value);
      return quantized;
    },
    weight: (layer, weight) => weightFake(graph, layer, weight, context, emitter),
  };
}

/** 1.5 · 2²³: adding and subtracting it rounds |x| ≤ 2²² to the nearest whole number, ties to even, in float32. */
const ROUNDING_SHIFT = 12_582_912;

/**
 * round(clamp(x / s, min − z, max − z)) · s, which is (clamp(round(x / s) + z) − z) · s for whole z; z and s broadcast against
 * x. Clamping comes before rounding, so that the derivative by s is LSQ's; rounding is an addition and a subtraction, whose
 * derivative is the straight-through one, and which every provider computes where the values are (there is no Round on WebGPU).
 */
function fakeQuantize(
  value: string,
  scale: string,
  zero: string | null,
  bounds: CodeBounds | null,
  emitter: NodeEmitter,
): string {
  const steps = emitter.emit('Div', [value, scale]);
  const inside = bounds === null ? steps : clamped(steps, zero, bounds, emitter);
  return emitter.emit('Mul', [rounded(inside, emitter), scale], {}, 'value');
}

/** Codes at which values are clamped; null: nothing can be outside. */
interface CodeBounds {
  readonly min: number;
  readonly max: number;
}

function clamped(steps: string, zero: string | null, { min, max }: CodeBounds, emitter: NodeEmitter): string {
  if (zero === null) return emitter.emit('Clip', [steps, emitter.scalar(min), emitter.scalar(max)]);
  const bound = (code: number): string => emitter.emit('Sub', [emitter.scalar(code), zero]);
  return emitter.emit('Min', [emitter.emit('Max', [steps, bound(min)]), bound(max)]);
}

function rounded(value: string, emitter: NodeEmitter): string {
  const shift = emitter.scalar(ROUNDING_SHIFT);
  return emitter.emit('Sub', [emitter.emit('Add', [value, shift]), shift], {}, 'codes');
}

/**
 * A dynamic range needs no clamp: it starts at the smallest value and ends at the largest, (max − min) / s = 2^b − 1, so
 * rounding both ends leaves the unsigned grid only when both lie exactly halfway; signed, |x| / s < 2^(b−1) − ½.
 */
function dynamicFake(quantizer: ActivationQuantizer, dims: readonly number[], emitter: NodeEmitter): string {
  const range = emitDynamicRange(quantizer, dims, emitter);
  const zero =
    range.negatedMin === null ? null : rounded(emitter.emit('Div', [range.negatedMin, range.scale]), emitter);
  return range.restore(fakeQuantize(range.grouped, range.scale, zero, null, emitter));
}

interface FakeContext {
  readonly context: FloatContext;
  readonly index: TimestepIndex | null;
  /** Of the value, in some concrete run. */
  readonly dims: readonly number[];
}

function activationFake(graph: Graph, quantizer: ActivationQuantizer, at: FakeContext, emitter: NodeEmitter): string {
  const { scheme, value, id } = quantizer;
  if (scheme.grid !== undefined) {
    return emitLogProbabilities(quantizer, at.dims, emitter, (steps, { scale }) =>
      fakeQuantize(
        steps.value,
        emitter.constant(scale),
        null,
        codeRange({ bits: scheme.bits, signed: false }),
        emitter,
      ),
    );
  }
  if (scheme.ranges === 'dynamic') return dynamicFake(quantizer, at.dims, emitter);
  const found = at.context.parameters.activations.get(id);
  if (found === undefined) throw new Error(`no range for quantizer ${id} (${value})`);
  return tableFake(graph, quantizer, found, at, emitter);
}

function tableFake(
  graph: Graph,
  quantizer: ActivationQuantizer,
  found: ActivationParameters,
  { context: { trainRanges }, index, dims }: FakeContext,
  emitter: NodeEmitter,
): string {
  const { spread } = found;
  const perRow = (found.scale.dims[0] ?? 1) > 1 && index !== null;
  const rows = perRow ? index.rowsOf(quantizer.value, rowsKey(quantizer, dims)) : '';
  emitter.at(quantizer.id);
  const held = emitter.constant(found.scale, 'scales');
  const factor = trainableName.range(quantizer.id);
  if (trainRanges) graph.inputs.push({ name: factor, type: 'float32', shape: [...found.scale.dims] });
  const table = trainRanges ? emitter.emit('Mul', [held, factor], {}, 'table') : held;
  const column = emitter.int64s(broadcastDims(perRow, dims, spread?.axes));
  const members = spread?.groups ? emitMembers(spread.groups, found.scale.dims, perRow ? rows : null, emitter) : null;
  const pick = (from: string): string => {
    const row = perRow ? emitter.emit('Gather', [from, rows], { axis: attribute.int(0) }) : from;
    const entries = members === null ? row : emitChosen(row, members, emitter);
    return emitter.emit('Reshape', [entries, column]);
  };
  const scale = pick(table);
  const zero = quantizer.scheme.symmetric ? null : pick(emitter.constant(found.zeroPoint, 'zeros'));
  const grid = codeRange({ bits: quantizer.scheme.bits, signed: quantizer.scheme.symmetric });
  return fakeQuantize(quantizer.value, scale, zero, grid, emitter);
}

/** Dims under which picked rows broadcast against a value of `dims`: entries along `axes`, if there are any. */
function broadcastDims(perRow: boolean, dims: readonly number[], axes: readonly number[] | undefined): number[] {
  if (axes === undefined) return perRow ? [-1, ...dims.slice(1).map(() => 1)] : [];
  return dims.map((dim, axis) => (axis === 0 ? -1 : axes.includes(axis) ? dim : 1));
}

function weightFake(
  graph: Graph,
  layer: PlannedLayer,
  weight: PlannedWeight,
  context: FloatContext,
  emitter: NodeEmitter,
): string {
  const { parameters, trainedLayers } = context;
  const found = parameters.weights.get(layer.name);
  if (found === undefined) throw new Error(`no weight for layer ${layer.name}`);
  if (trainedLayers.has(layer.name)) return trainedWeight(graph, layer, weight, found, context, emitter);
  if (weight.bias !== null && found.bias !== null) {
    const held = graph.initializers.get(weight.bias);
    if (held === undefined) throw new Error(`bias ${weight.bias} is not an initializer`);
    graph.addInitializer({ ...held, raw: bytesFromTensor(found.bias) });
  }
  const codes = roundToCodes(found.weight, found.scales, weight);
  return emitter.constant(dequantizeCodes(codes, weight.dims, found.scales, weight), 'weight');
}

/** round(clamp(codes)) · (factor · s₀) and b₀ + shift · s̄, with codes, factor and shift as graph inputs (weight-units.ts). */
function trainedWeight(
  graph: Graph,
  layer: PlannedLayer,
  weight: PlannedWeight,
  found: WeightParameters,
  { weightRounding }: FloatContext,
  emitter: NodeEmitter,
): string {
  const input = (name: string, dims: readonly number[]): string => {
    graph.inputs.push({ name, type: 'float32', shape: [...dims] });
    return name;
  };
  if (weight.bias !== null && found.bias !== null) {
    const shift = input(trainableName.bias(layer.name), found.bias.dims);
    const moved = emitter.emit('Mul', [shift, emitter.scalar(biasUnit(found))]);
    const bias = emitter.constant(found.bias, 'bias0');
    graph.replaceUses(weight.bias, emitter.emit('Add', [bias, moved], {}, 'bias'));
    graph.initializers.delete(weight.bias);
  }
  const { min, max } = codeRange({ bits: weight.scheme.bits, signed: true });
  const layout = groupLayout(weight, found.scales.dims);
  const codes = input(trainableName.weight(layer.name), weight.dims);
  const factor = input(trainableName.scales(layer.name), found.scales.dims);
  const scales = emitter.emit('Mul', [factor, emitter.constant(found.scales, 'scales0')]);
  const spread = emitter.emit('Reshape', [scales, emitter.int64s(layout.scales)]);
  const nearest = rounded(clamped(codes, null, { min, max }, emitter), emitter);
  const axes = layout.weight.flatMap((_, axis) => ((layout.scales[axis] ?? 1) === 1 ? [axis] : []));
  const rounding = {
    codes,
    rounded: nearest,
    bits: weight.scheme.bits,
    dims: weight.dims,
    grouped: layout.weight,
    axes,
  };
  const whole = weightRounding?.(rounding) ?? nearest;
  if (layout.weight.length === weight.dims.length) return emitter.emit('Mul', [whole, spread], {}, 'weight');
  const grouped = emitter.emit('Reshape', [whole, emitter.int64s(layout.weight)]);
  const value = emitter.emit('Mul', [grouped, spread]);
  return emitter.emit('Reshape', [value, emitter.int64s(weight.dims)], {}, 'weight');
}

/** Dims under which the scales broadcast against the weight: groups become an axis of their own. */
function groupLayout(weight: PlannedWeight, scaleDims: readonly number[]): { weight: number[]; scales: number[] } {
  const { axis, blockSize = null } = weightSpread(weight);
  if (axis === null) return { weight: [...weight.dims], scales: [] };
  if (blockSize === null) {
    return { weight: [...weight.dims], scales: weight.dims.map((dim, at) => (at === axis ? dim : 1)) };
  }
  const split = (dims: readonly number[], size: number): number[] =>
    dims.flatMap((dim, at) => (at === axis ? [size === 1 ? dim : dim / size, size] : [dim]));
  return { weight: split(weight.dims, blockSize), scales: split(scaleDims, 1) };
}
