import { elementCount } from '../tensors/tensor.js';
import { intAttribute, type Node } from './graph.js';
import type { Shapes } from './shape-inference.js';

/**
 * Multiply-adds of a node for the dims that `shapes` was made for. Bias additions are not counted.
 * Conv: |output| · Cin/groups · kernel. ConvTranspose: |input| · Cout/groups · kernel. MatMul, Gemm: |output| · K.
 * Other operators: 0.
 */
export function multiplyAdds(node: Node, shapes: Shapes): number {
  const count = node.domain === '' ? COUNTS.get(node.opType) : undefined;
  return count === undefined ? 0 : count(node, shapes);
}

type Count = (node: Node, shapes: Shapes) => number;

function dimsOfInput(node: Node, index: number, shapes: Shapes): readonly number[] {
  return shapes.dimsOf(node.inputs[index] ?? '');
}

function outputElements(node: Node, shapes: Shapes): number {
  return elementCount(shapes.dimsOf(node.outputs[0] ?? ''));
}

/** Weight [Cout, Cin/groups, kernel…]. */
const conv: Count = (node, shapes) =>
  outputElements(node, shapes) * elementCount(dimsOfInput(node, 1, shapes).slice(1));

/** Weight [Cin, Cout/groups, kernel…]. */
const convTranspose: Count = (node, shapes) =>
  elementCount(dimsOfInput(node, 0, shapes)) * elementCount(dimsOfInput(node, 1, shapes).slice(1));

const matmul: Count = (node, shapes) => outputElements(node, shapes) * (dimsOfInput(node, 0, shapes).at(-1) ?? 1);

const gemm: Count = (node, shapes) => {
  const a = dimsOfInput(node, 0, shapes);
  const contracted = intAttribute(node, 'transA', 0) === 1 ? a[0] : a[1];
  return outputElements(node, shapes) * (contracted ?? 1);
};

const COUNTS: ReadonlyMap<string, Count> = new Map([
  ['Conv', conv],
  ['ConvTranspose', convTranspose],
  ['MatMul', matmul],
  ['Gemm', gemm],
]);
