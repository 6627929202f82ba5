import { type Graph, intAttribute, type Node } from '../models/onnx/graph.js';
import type { Shapes } from '../models/onnx/shape-inference.js';
import { elementCount } from '../models/tensors/tensor.js';
import { constantValue } from './constant-value.js';
import type { DataDependencies } from './data-dependencies.js';
import type { PlannedLayer, PlannedWeight } from './layer-plan.js';

/** A Conv, Gemm or MatMul of the graph, before a recipe says what happens to it. */
export interface FoundLayer {
  readonly node: Node;
  readonly opType: PlannedLayer['opType'];
  /** weight: constant operand; product: two activations; other: neither, see `obstacle`. */
  readonly kind: 'weight' | 'product' | 'other';
  readonly weight: FoundWeight | null;
  readonly inputs: readonly LayerInput[];
  /** Why it cannot be quantized, in words; null when it can. */
  readonly obstacle: string | null;
}

export type FoundWeight = Omit<PlannedWeight, 'scheme'>;

export interface LayerInput {
  readonly value: string;
  readonly index: number;
  readonly channelAxis: number;
}

const LAYER_OPERATORS: ReadonlySet<string> = new Set(['Conv', 'Gemm', 'MatMul']);

/**
 * Every Conv, Gemm and MatMul whose result depends on a graph input, in graph order. A weight is an initializer, also behind
 * a Constant, Identity or Transpose node.
 */
export function findLayers(graph: Graph, shapes: Shapes, dependencies: DataDependencies): FoundLayer[] {
  return graph.nodes.flatMap((node) => {
    if (!LAYER_OPERATORS.has(node.opType) || node.domain !== '') return [];
    if (dependencies(node.outputs[0] ?? '').size === 0) return [];
    const layer = foundLayer({ graph, shapes, dependencies }, node);
    const type = layer.inputs.map((input) => shapes.typeOf(input.value)).find((one) => one !== 'float32');
    const obstacle = type === undefined ? null : `its input is ${type}; only float32 activations are quantized`;
    return [{ ...layer, obstacle: layer.obstacle ?? obstacle }];
  });
}

interface Surroundings {
  readonly graph: Graph;
  readonly shapes: Shapes;
  readonly dependencies: DataDependencies;
}

function foundLayer(around: Surroundings, node: Node): FoundLayer {
  const opType = node.opType as PlannedLayer['opType'];
  const operands = [0, 1].map((index) => operandOf(around, node, index));
  const [left, right] = operands as [Operand, Operand];
  const rankOf = (operand: Operand): number => around.shapes.dimsOf(operand.value).length;
  const base = { node, opType, weight: null };
  if (left.isData && right.isData) {
    if (opType !== 'MatMul')
      return { ...base, kind: 'other', inputs: [], obstacle: `both operands of the ${opType} are computed` };
    const inputs = [
      { value: left.value, index: 0, channelAxis: rankOf(left) - 1 },
      { value: right.value, index: 1, channelAxis: Math.max(0, rankOf(right) - 2) },
    ];
    return { ...base, kind: 'product', inputs, obstacle: null };
  }
  const [data, other] = left.isData ? [left, right] : [right, left];
  if (!data.isData)
    return { ...base, kind: 'other', inputs: [], obstacle: 'only its bias depends on an input of the model' };
  if (other.constant === undefined) {
    return { ...base, kind: 'other', inputs: [], obstacle: 'its weight is computed inside the graph' };
  }
  const inputs = [{ value: data.value, index: data.index, channelAxis: channelAxisOf(node, data, rankOf(data)) }];
  return { node, opType, kind: 'weight', inputs, ...weightOf(around, node, other, other.constant) };
}

interface Operand {
  readonly value: string;
  readonly index: number;
  readonly isData: boolean;
  /** The constant it is, and the permutation between the constant and the operand. */
  readonly constant:
    | {
        readonly name: string;
        readonly type: string;
        readonly dims: readonly number[];
        readonly perm: readonly number[];
      }
    | undefined;
}

function operandOf({ graph, dependencies }: Surroundings, node: Node, index: number): Operand {
  const value = node.inputs[index] ?? '';
  const isData = dependencies(value).size > 0;
  return { value, index, isData, constant: isData ? undefined : permutedConstant(graph, value) };
}

function permutedConstant(graph: Graph, value: string): Operand['constant'] {
  const found = constantValue(graph, value);
  if (found !== undefined) {
    const { type, dims } = found.constant;
    return { name: found.name, type, dims, perm: dims.map((_, axis) => axis) };
  }
  const producer = graph.producerOf(value);
  if (producer?.opType !== 'Transpose') return undefined;
  const inner = permutedConstant(graph, producer.inputs[0] ?? '');
  if (inner === undefined) return undefined;
  const perm = producer.attributes.get('perm');
  const order = perm?.kind === 'ints' ? perm.value : inner.dims.map((_, axis) => inner.dims.length - 1 - axis);
  return { ...inner, perm: order.map((axis) => inner.perm[axis] ?? 0) };
}

function channelAxisOf(node: Node, data: Operand, rank: number): number {
  if (node.opType === 'Conv') return 1;
  if (node.opType === 'Gemm') {
    const transposed = intAttribute(node, data.index === 0 ? 'transA' : 'transB', 0) !== 0;
    return (data.index === 0) === transposed ? 0 : 1;
  }
  return data.index === 0 ? rank - 1 : Math.max(0, rank - 2);
}

function weightOf(
  around: Surroundings,
  node: Node,
  operand: Operand,
  constant: NonNullable<Operand['constant']>,
): { weight: FoundWeight | null; obstacle: string | null } {
  if (node.opType !== 'Conv' && constant.dims.length !== 2) {
    return { weight: null, obstacle: `its weight has dims [${constant.dims.join(', ')}], not two` };
  }
  const [outputPosition, inputPosition] = operandAxes(node, operand.index);
  const weight: FoundWeight = {
    initializer: constant.name,
    dims: constant.dims,
    outputAxis: constant.perm[outputPosition] ?? 0,
    inputAxis: constant.perm[inputPosition] ?? 1,
    bias: biasOf(around, node, constant.dims[constant.perm[outputPosition] ?? 0] ?? 0),
  };
  const obstacle =
    constant.type === 'float32' ? null : `its weight is ${constant.type}; only float32 weights are quantized`;
  return { weight, obstacle };
}

/** Positions of output and input channels among the axes of the weight operand. */
function operandAxes(node: Node, index: number): readonly [number, number] {
  if (node.opType === 'Conv') return [0, 1];
  const transposed = node.opType === 'Gemm' && intAttribute(node, index === 0 ? 'transA' : 'transB', 0) !== 0;
  const inputsFirst = (index === 1) !== transposed;
  return inputsFirst ? [1, 0] : [0, 1];
}

/** The layer's own bias. One that others read as well stays as it is: training it for this layer would change theirs. */
function biasOf({ graph }: Surroundings, node: Node, channels: number): string | null {
  const ownName = (value: string): string | null => {
    const name = value === '' ? undefined : constantValue(graph, value)?.name;
    return name !== undefined && graph.consumersOf(name).length === 1 ? name : null;
  };
  if (node.opType !== 'MatMul') return ownName(node.inputs[2] ?? '');
  const output = node.outputs[0] ?? '';
  const readers = graph.consumersOf(output);
  const [add] = readers;
  if (readers.length !== 1 || add?.opType !== 'Add') return null;
  const value = add.inputs.find((input) => input !== output) ?? '';
  const dims = constantValue(graph, value)?.constant.dims;
  return dims !== undefined && elementCount(dims) === channels ? ownName(value) : null;
}
