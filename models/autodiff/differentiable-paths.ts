import { DATA_TYPE, type Graph, intAttribute, type Node } from '../onnx/graph.js';
import type { ConstantOf } from './rule.js';
import { FLAT_OPERATORS, RULES } from './rules.js';

/** What lies between `wrt` and the loss. */
export interface DifferentiablePaths {
  /** Values that depend on `wrt` and that the loss depends on: the only ones that get a gradient. */
  readonly active: ReadonlySet<string>;
  /** Nodes that compute active values, in graph order. */
  readonly nodes: readonly Node[];
  /** `wrt` values the loss does not depend on. */
  readonly unreachable: readonly string[];
  /** What stands in the way, one line each. */
  readonly unsupported: readonly string[];
}

const FLOAT_TYPES: ReadonlySet<number> = new Set([
  DATA_TYPE.float32,
  DATA_TYPE.float64,
  DATA_TYPE.float16,
  DATA_TYPE.bfloat16,
]);

/** Follows `wrt` forward and `loss` backward; integer and shape computations are no paths. */
export function differentiablePaths(
  graph: Graph,
  loss: string,
  wrt: readonly string[],
  constantOf: ConstantOf,
): DifferentiablePaths {
  const dependent = new Set(wrt);
  for (const node of graph.nodes) {
    if (isFlat(node) || !node.inputs.some((input) => dependent.has(input))) continue;
    for (const output of node.outputs) if (output !== '') dependent.add(output);
  }
  const active = new Set(dependent.has(loss) ? [loss] : []);
  const nodes: Node[] = [];
  for (const node of graph.nodes.toReversed()) {
    if (isFlat(node) || !node.outputs.some((output) => active.has(output))) continue;
    const inputs = node.inputs.filter((input) => dependent.has(input));
    if (inputs.length === 0) continue;
    nodes.push(node);
    for (const input of inputs) active.add(input);
  }
  nodes.reverse();
  return {
    active,
    nodes,
    unreachable: wrt.filter((name) => !active.has(name)),
    unsupported: [...new Set(nodes.flatMap((node) => refusals(node, active, constantOf)))],
  };
}

function isFlat(node: Node): boolean {
  if (node.domain !== '' && node.domain !== 'ai.onnx') return false;
  if (FLAT_OPERATORS.has(node.opType)) return true;
  return node.opType === 'Cast' && !FLOAT_TYPES.has(intAttribute(node, 'to', DATA_TYPE.float32));
}

function refusals(node: Node, active: ReadonlySet<string>, constantOf: ConstantOf): string[] {
  const standard = node.domain === '' || node.domain === 'ai.onnx';
  const rule = standard ? RULES.get(node.opType) : undefined;
  if (rule === undefined) return [standard ? node.opType : `${node.domain}.${node.opType}`];
  const reasons: string[] = [];
  const reason = rule.refuses?.(node, constantOf);
  if (reason !== undefined) reasons.push(`${node.opType} with ${reason} (${node.name})`);
  const { inputs } = rule;
  node.inputs.forEach((input, index) => {
    if (inputs !== 'all' && active.has(input) && !inputs.includes(index)) {
      reasons.push(`${node.opType} by its input ${index} (${node.name})`);
    }
  });
  return reasons;
}
