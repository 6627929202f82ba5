import { NibbleflowError } from '../../contracts/errors.js';
import { type Graph, type Initializer, intAttribute, type Node, node } from '../../models/onnx/graph.js';
import type { Shapes } from '../../models/onnx/shape-inference.js';
import { elementCount } from '../../models/tensors/tensor.js';
import { type ConstantValue, constantValue } from '../constant-value.js';

/**
 * Q-Diffusion's shortcut split (Li et al., ICCV 2023, arXiv 2302.04304, §3.3). An up-path block joins the upsampled stream
 * and a skip connection along the channels; their ranges differ so much that one activation range ruins both. A pointwise
 * convolution of a concatenation is a sum,
 *
 *   W · [x₀; x₁] + b = (W₀ · x₀ + b) + W₁ · x₁,
 *
 * so each part gets its own convolution and with it its own ranges. Float results change by the order of summation only.
 */

export interface SplitShortcuts {
  readonly count: number;
  /** Names of the convolutions that were split. */
  readonly convs: string[];
}

interface SplittableConv {
  readonly conv: Node;
  readonly concat: Node;
  readonly weight: ConstantValue;
}

/**
 * Splits, in place, every pointwise Conv (all kernel dims 1, one group) with a constant weight whose data input is directly a
 * Concat of at least two parts on axis 1. The sum keeps the name of the Conv's output; the parts are named `<conv>.part0`…
 * and their weights `<weight>.part0`…; the bias stays on part 0. Other readers of the Concat are not touched; a Concat or
 * weight that nobody reads any more is removed. `shapes` gives the channels of the parts.
 * Throws InvalidModel when the parts' channels do not add up to the weight's.
 */
export function splitShortcuts(graph: Graph, shapes: Shapes): SplitShortcuts {
  const found = graph.nodes.flatMap((candidate) => splittableConv(graph, candidate, shapes) ?? []);
  for (const one of found) splitConv(graph, one, shapes);
  return { count: found.length, convs: found.map((one) => one.conv.name) };
}

function splittableConv(graph: Graph, conv: Node, shapes: Shapes): SplittableConv | undefined {
  if (conv.opType !== 'Conv' || conv.domain !== '' || intAttribute(conv, 'group', 1) !== 1) return undefined;
  const [data = '', weightValue = ''] = conv.inputs;
  const concat = graph.producerOf(data);
  if (concat?.opType !== 'Concat' || concat.inputs.length < 2) return undefined;
  const axis = intAttribute(concat, 'axis', 0);
  if ((axis < 0 ? axis + shapes.dimsOf(data).length : axis) !== 1) return undefined;
  const weight = constantValue(graph, weightValue);
  if (weight === undefined || weight.constant.dims.slice(2).some((dim) => dim !== 1)) return undefined;
  return { conv, concat, weight };
}

function splitConv(graph: Graph, { conv, concat, weight }: SplittableConv, shapes: Shapes): void {
  const channels = concat.inputs.map((part) => shapes.dimsOf(part)[1] ?? 0);
  const expected = weight.constant.dims[1] ?? 0;
  if (channels.reduce((sum, count) => sum + count, 0) !== expected) {
    throw new NibbleflowError('InvalidModel', `a convolution of ${expected} channels reads ${channels.join(' + ')}`, {
      where: `node ${conv.name}`,
      fix: 'Export the model again; the file contradicts itself.',
    });
  }
  const parts = partConvs(graph, conv, { concat, weight, channels });
  const sums = chainOfSums(graph, conv, parts);
  graph.insertNodes([...parts, ...sums], conv);
  graph.removeNodes([conv]);
  removeIfUnread(graph, concat, weight);
}

function partConvs(
  graph: Graph,
  conv: Node,
  from: { readonly concat: Node; readonly weight: ConstantValue; readonly channels: readonly number[] },
): Node[] {
  const output = conv.outputs[0] ?? '';
  const bias = conv.inputs[2] ?? '';
  let start = 0;
  return from.channels.map((count, part) => {
    const weightName = graph.uniqueName(`${from.weight.name}.part${part}`);
    graph.addInitializer(inputChannels(from.weight.constant, weightName, start, count));
    start += count;
    const inputs = [from.concat.inputs[part] ?? '', weightName];
    if (part === 0 && bias !== '') inputs.push(bias);
    const value = graph.uniqueName(`${output}.part${part}`);
    copyValueInfo(graph, output, value);
    return node('Conv', inputs, [value], {
      name: graph.uniqueName(`${conv.name}.part${part}`),
      attributes: Object.fromEntries(conv.attributes),
    });
  });
}

/** ((part0 + part1) + part2) + …, the last sum under the name of the convolution's output. */
function chainOfSums(graph: Graph, conv: Node, parts: readonly Node[]): Node[] {
  const output = conv.outputs[0] ?? '';
  const last = parts.length - 1;
  let sum = parts[0]?.outputs[0] ?? '';
  return parts.slice(1).map((part, index) => {
    const position = index + 1;
    const total = position === last ? output : graph.uniqueName(`${output}.sum${position}`);
    if (total !== output) copyValueInfo(graph, output, total);
    const add = node('Add', [sum, part.outputs[0] ?? ''], [total], {
      name: graph.uniqueName(`${conv.name}.sum${position}`),
    });
    sum = total;
    return add;
  });
}

function copyValueInfo(graph: Graph, from: string, to: string): void {
  const info = graph.valueInfos.get(from) ?? graph.outputs.find((one) => one.name === from);
  if (info !== undefined) graph.valueInfos.set(to, { ...info, name: to });
}

/** Input channels [start, start + count) of a pointwise weight [Co, Ci, 1, …], bytes copied. */
function inputChannels(weight: Initializer, name: string, start: number, count: number): Initializer {
  const [rows = 0, channels = 0, ...kernel] = weight.dims;
  const elementBytes = weight.raw.byteLength / elementCount(weight.dims);
  const raw = new Uint8Array(rows * count * elementBytes);
  for (let row = 0; row < rows; row += 1) {
    const from = (row * channels + start) * elementBytes;
    raw.set(weight.raw.subarray(from, from + count * elementBytes), row * count * elementBytes);
  }
  return { name, type: weight.type, dims: [rows, count, ...kernel], raw };
}

function removeIfUnread(graph: Graph, concat: Node, weight: ConstantValue): void {
  const isRead = (value: string): boolean =>
    graph.consumersOf(value).length > 0 || graph.outputs.some((output) => output.name === value);
  if (!concat.outputs.some(isRead)) graph.removeNodes([concat]);
  if (!isRead(weight.name)) graph.initializers.delete(weight.name);
}
