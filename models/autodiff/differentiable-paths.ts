import { DATA_TYPE, type Graph, intAttribute, type Node } from '../onnx/graph.js';
import { subgraphReads } from '../onnx/subgraph-reads.js';
import type { ConstantOf, OperatorRule } from './rule.js';
import { FLAT_OPERATORS, RULES } from './rules.js';

/** What lies between `wrt` and the loss. */
export interface DifferentiablePaths {
  /** Values that depend on `wrt` and that the loss depends on: the only ones that get a gradient. */
  readonly active: ReadonlySet<string>;
  /** Nodes that compute active values, in graph order. */
  readonly nodes: readonly Node[];
  /** `wrt` values the loss does not depend on. */
  readonly unreachable: readonly string[];
  /** What stands in the way: one line for each operator (or use of it), with the number and the names of its nodes. */
  readonly unsupported: readonly string[];
}

const FLOAT_TYPES: ReadonlySet<number> = new Set([
  DATA_TYPE.float32,
  DATA_TYPE.float64,
  DATA_TYPE.float16,
  DATA_TYPE.bfloat16,
]);

/** Nodes a message names for one operator; the others are counted. */
const MOST_NAMES = 3;

/** Follows `wrt` forward and `loss` backward; integer and shape computations are no paths. */
export function differentiablePaths(
  graph: Graph,
  loss: string,
  wrt: readonly string[],
  constantOf: ConstantOf,
): DifferentiablePaths {
  const dependent = new Set(wrt);
  for (const node of graph.nodes) {
    if (isFlat(node) || !readsOf(node).some((input) => dependent.has(input))) continue;
    const flat = ruleOf(node)?.flatOutputs ?? [];
    node.outputs.forEach((output, index) => {
      if (output !== '' && !flat.includes(index)) dependent.add(output);
    });
  }
  const active = new Set(dependent.has(loss) ? [loss] : []);
  const nodes: Node[] = [];
  for (const node of graph.nodes.toReversed()) {
    if (isFlat(node) || !node.outputs.some((output) => active.has(output))) continue;
    const inputs = readsOf(node).filter((input) => dependent.has(input));
    if (inputs.length === 0) continue;
    nodes.push(node);
    for (const input of inputs) active.add(input);
  }
  nodes.reverse();
  return {
    active,
    nodes,
    unreachable: wrt.filter((name) => !active.has(name)),
    unsupported: unsupportedUses(nodes, active, constantOf, graph.opset),
  };
}

function isStandard(node: Node): boolean {
  return node.domain === '' || node.domain === 'ai.onnx';
}

function ruleOf(node: Node): OperatorRule | undefined {
  return isStandard(node) ? RULES.get(node.opType) : undefined;
}

/** What a change of the output can come from: inputs, and for control flow what the bodies read from outside. */
function readsOf(node: Node): string[] {
  const flat = ruleOf(node)?.flatInputs;
  const inputs = flat === undefined ? node.inputs : node.inputs.filter((_, index) => !flat.includes(index));
  return [...inputs, ...subgraphReads(node)];
}

function isFlat(node: Node): boolean {
  if (!isStandard(node)) return false;
  if (FLAT_OPERATORS.has(node.opType)) return true;
  return node.opType === 'Cast' && !FLOAT_TYPES.has(intAttribute(node, 'to', DATA_TYPE.float32));
}

/** Refusals of all nodes, equal ones together. */
function unsupportedUses(
  nodes: readonly Node[],
  active: ReadonlySet<string>,
  constantOf: ConstantOf,
  opset: number,
): string[] {
  const uses = new Map<string, string[]>();
  for (const node of nodes) {
    for (const use of refusals(node, active, constantOf, opset)) {
      const names = uses.get(use);
      if (names === undefined) uses.set(use, [node.name]);
      else names.push(node.name);
    }
  }
  return [...uses].map(([use, names]) => {
    const listed = names.slice(0, MOST_NAMES).join(', ');
    return `${use} (${names.length} ${names.length === 1 ? 'node' : 'nodes'}: ${listed}${names.length > MOST_NAMES ? ', …' : ''})`;
  });
}

function refusals(node: Node, active: ReadonlySet<string>, constantOf: ConstantOf, opset: number): string[] {
  const rule = ruleOf(node);
  if (rule === undefined) return [isStandard(node) ? node.opType : `${node.domain}.${node.opType}`];
  const reasons: string[] = [];
  const reason = rule.refuses?.(node, constantOf, opset);
  if (reason !== undefined) reasons.push(`${node.opType} with ${reason}`);
  const { inputs, flatInputs = [], outputs, flatOutputs = [] } = rule;
  node.inputs.forEach((input, index) => {
    if (inputs !== 'all' && active.has(input) && !inputs.includes(index) && !flatInputs.includes(index)) {
      reasons.push(`${node.opType} by its input ${index}`);
    }
  });
  node.outputs.forEach((output, index) => {
    if (index > 0 && outputs !== 'all' && active.has(output) && !flatOutputs.includes(index)) {
      reasons.push(`${node.opType} through its output ${index}`);
    }
  });
  return reasons;
}
