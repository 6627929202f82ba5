import { bytesFromTensor, int64, type Tensor } from '../../tensors/tensor.js';
import { type Graph, intAttribute, type Node } from '../graph.js';
import type { Shapes } from '../shape-inference.js';
import { type ConstantPool, contentKey } from './constant-pool.js';
import { fixedNames, Replacements } from './replace-value.js';

/** The constant of a value when it is known, and the same, in every binding. */
export function commonConstant(bindings: readonly Shapes[], value: string): Tensor | undefined {
  const [first, ...others] = bindings.map((shapes) => shapes.constantOf(value));
  if (first === undefined) return undefined;
  const key = constantKey(first);
  return others.every((other) => other !== undefined && constantKey(other) === key) ? first : undefined;
}

function constantKey(value: Tensor): string {
  return contentKey({ type: value.type, dims: value.dims, raw: bytesFromTensor(value) });
}

/** Values that hold the same elements in every binding become shared initializers. */
export function foldCommonConstants(graph: Graph, bindings: readonly Shapes[], pool: ConstantPool): void {
  const fixed = fixedNames(graph);
  const replacements = new Replacements(graph);
  for (const node of graph.nodes) {
    for (const output of node.outputs) {
      if (output === '' || fixed.has(output)) continue;
      const constant = commonConstant(bindings, output);
      if (constant !== undefined) replacements.add(output, pool.addTensor(constant, output));
    }
  }
  replacements.apply();
}

/**
 * Integer values (shapes and parts of shapes) that hold the same elements as an earlier value in every binding are
 * replaced by that one: many ways to compute the same dims become one.
 */
export function mergeEqualShapeValues(graph: Graph, bindings: readonly Shapes[]): void {
  const fixed = fixedNames(graph);
  const replacements = new Replacements(graph);
  const earliest = new Map<string, string>();
  for (const node of graph.nodes) {
    for (const output of node.outputs) {
      const constants = output === '' ? [] : bindings.map((shapes) => shapes.constantOf(output));
      if (constants.length === 0 || !constants.every((one) => one?.type === 'int64')) continue;
      const key = constants.map((one) => (one === undefined ? '' : constantKey(one))).join('\n');
      const first = earliest.get(key);
      if (first === undefined) earliest.set(key, output);
      else if (!fixed.has(output)) replacements.add(output, first);
    }
  }
  replacements.apply();
}

/**
 * Reshape targets as constants: an entry that is the same in every binding is written as it is, an entry that equals the
 * input's dim at its position as 0, one remaining entry as -1. Targets with more unknown entries stay computed.
 */
export function fixReshapeTargets(graph: Graph, bindings: readonly Shapes[], pool: ConstantPool): void {
  for (const node of graph.nodes) {
    if (node.opType !== 'Reshape' || node.domain !== '' || graph.initializers.has(node.inputs[1] ?? '')) continue;
    if (intAttribute(node, 'allowzero', 0) !== 0) continue;
    const target = reshapeTarget(node, bindings);
    if (target !== undefined) node.inputs[1] = pool.addTensor(int64([target.length], target), `${node.name}_target`);
  }
  graph.invalidate();
}

function reshapeTarget(node: Node, bindings: readonly Shapes[]): number[] | undefined {
  const from = bindings.map((shapes) => shapes.dimsOf(node.inputs[0] ?? ''));
  const to = bindings.map((shapes) => shapes.dimsOf(node.outputs[0] ?? ''));
  const target = (to[0] ?? []).map((first, axis) => {
    if (first !== 0 && to.every((dims) => dims[axis] === first)) return first;
    return to.every((dims, index) => dims[axis] === from[index]?.[axis]) ? 0 : -1;
  });
  return target.filter((entry) => entry === -1).length <= 1 ? target : undefined;
}
