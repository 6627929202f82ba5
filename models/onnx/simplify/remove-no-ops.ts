import { elementCount, type Tensor } from '../../tensors/tensor.js';
import { DATA_TYPE, type Graph, intAttribute, intsAttribute, type Node } from '../graph.js';
import type { Shapes } from '../shape-inference.js';
import { commonConstant } from './fold-shape-arithmetic.js';
import { fixedNames, Replacements } from './replace-value.js';

/** Removes nodes that give their input back unchanged, bit for bit, in every binding. */
export function removeNoOps(graph: Graph, bindings: readonly Shapes[]): void {
  const fixed = fixedNames(graph);
  const replacements = new Replacements(graph);
  for (const node of graph.nodes) {
    const [output] = node.outputs;
    const kept = node.domain === '' ? NO_OPS.get(node.opType)?.(node, bindings, graph) : undefined;
    if (kept === undefined || kept === '' || output === undefined) continue;
    if (!fixed.has(output)) replacements.add(output, kept);
  }
  replacements.apply();
}

/** The input that the node passes on, or undefined when it does something. */
type NoOp = (node: Node, bindings: readonly Shapes[], graph: Graph) => string | undefined;

function sameDims(node: Node, input: string | undefined, bindings: readonly Shapes[]): boolean {
  const output = node.outputs[0] ?? '';
  return (
    input !== undefined && bindings.every((shapes) => String(shapes.dimsOf(input)) === String(shapes.dimsOf(output)))
  );
}

/** Layout operators that cannot reorder elements. */
function passesOn(node: Node, bindings: readonly Shapes[]): string | undefined {
  return sameDims(node, node.inputs[0], bindings) ? node.inputs[0] : undefined;
}

const whenDimsStay: NoOp = passesOn;

const identity: NoOp = (node) => node.inputs[0];

const concat: NoOp = (node) => (node.inputs.length === 1 ? node.inputs[0] : undefined);

const cast: NoOp = (node, [shapes]) => {
  const [input] = node.inputs;
  if (input === undefined || shapes === undefined) return undefined;
  return intAttribute(node, 'to', 0) === DATA_TYPE[shapes.typeOf(input)] ? input : undefined;
};

const transpose: NoOp = (node) =>
  intsAttribute(node, 'perm')?.every((axis, index) => axis === index) === true ? node.inputs[0] : undefined;

const slice: NoOp = (node, bindings) => {
  const steps =
    node.inputs[4] === undefined || node.inputs[4] === '' ? undefined : commonConstant(bindings, node.inputs[4]);
  const forward = node.inputs[4] === undefined || node.inputs[4] === '' || (steps !== undefined && isAll(steps, 1));
  return forward ? passesOn(node, bindings) : undefined;
};

const pad: NoOp = (node, bindings) => {
  const pads = commonConstant(bindings, node.inputs[1] ?? '');
  return pads !== undefined && isAll(pads, 0) ? node.inputs[0] : undefined;
};

/** Inference only: training mode is a constant false or absent, and nobody reads the mask. */
const dropout: NoOp = (node, bindings, graph) => {
  const [input, , training] = node.inputs;
  const mask = node.outputs[1];
  if (mask !== undefined && mask !== '' && graph.consumersOf(mask).length > 0) return undefined;
  if (training === undefined || training === '') return input;
  const constant = commonConstant(bindings, training);
  return constant !== undefined && isAll(constant, 0) ? input : undefined;
};

/** x · 1 (either side) and x / 1. */
const timesOne: NoOp = (node, bindings) => {
  const [a = '', b = ''] = node.inputs;
  if (isConstant(bindings, b, 1) && sameDims(node, a, bindings)) return a;
  if (node.opType === 'Mul' && isConstant(bindings, a, 1) && sameDims(node, b, bindings)) return b;
  return undefined;
};

/** x − 0 is x; x + 0 turns −0 into +0, which only a Softmax behind it (or an integer type) makes invisible. */
const plusZero: NoOp = (node, bindings, graph) => {
  const [a = '', b = ''] = node.inputs;
  const [output = ''] = node.outputs;
  const readers = graph.consumersOf(output);
  const isInteger = !(bindings[0]?.typeOf(output).startsWith('float') ?? true);
  const signIsLost = isInteger || (readers.length > 0 && readers.every((reader) => reader.opType === 'Softmax'));
  if (node.opType === 'Add' && !signIsLost) return undefined;
  if (isConstant(bindings, b, 0) && sameDims(node, a, bindings)) return a;
  if (node.opType === 'Add' && isConstant(bindings, a, 0) && sameDims(node, b, bindings)) return b;
  return undefined;
};

function isConstant(bindings: readonly Shapes[], value: string, element: number): boolean {
  const constant = commonConstant(bindings, value);
  return constant !== undefined && isAll(constant, element);
}

/** Whether all elements are `element` (+0 for 0); half floats are stored as bits, where only 0 can be told. */
function isAll(constant: Tensor, element: number): boolean {
  if (elementCount(constant.dims) === 0 || (constant.type === 'float16' && element !== 0)) return false;
  return Array.from(constant.data as ArrayLike<number | bigint>).every((value) => Object.is(Number(value), element));
}

const NO_OPS: ReadonlyMap<string, NoOp> = new Map([
  ['Identity', identity],
  ['Cast', cast],
  ['Concat', concat],
  ['Transpose', transpose],
  ['Reshape', whenDimsStay],
  ['Flatten', whenDimsStay],
  ['Squeeze', whenDimsStay],
  ['Unsqueeze', whenDimsStay],
  ['Expand', whenDimsStay],
  ['Tile', whenDimsStay],
  ['Slice', slice],
  ['Pad', pad],
  ['Dropout', dropout],
  ['Mul', timesOne],
  ['Div', timesOne],
  ['Add', plusZero],
  ['Sub', plusZero],
]);
