import { type Graph, type Initializer, initializerFromTensor, type Node } from './graph.js';
import { removeDeadCode } from './remove-dead-code.js';
import type { Shapes } from './shape-inference.js';
import { ShapeRuleError } from './shapes/shape-rule.js';
import { SHAPE_RULES } from './shapes/shape-rules.js';
import { outerScopeReads } from './subgraph-reads.js';

/**
 * Turns Constant nodes, and every value whose elements `shapes` knows, into initializers of the same name; removes what
 * became dead. The graph is then only valid for dims that give the same constants. Graph outputs stay computed by nodes.
 */
export function foldConstants(graph: Graph, shapes: Shapes): void {
  const outputs = new Set(graph.outputs.map((output) => output.name));
  for (const node of graph.nodes) {
    for (const value of node.inputs) {
      if (value === '' || graph.initializers.has(value) || outputs.has(value)) continue;
      const constant = shapes.constantOf(value);
      if (constant !== undefined) graph.addInitializer(initializerFromTensor(value, constant));
    }
  }
  const folded = new Set(graph.initializers.keys());
  detachProducers(graph, folded);
  hoistConstantNodes(graph);
  removeDeadCode(graph);
}

/**
 * Removes nodes whose outputs are initializers now. Where only some of several outputs are, the others stay computed and
 * the replaced ones get a name that nothing reads.
 */
export function detachProducers(graph: Graph, folded: ReadonlySet<string>): void {
  const isReplaced = (output: string) => output === '' || folded.has(output);
  const replaced = graph.nodes.filter((node) => node.outputs.every(isReplaced));
  graph.removeNodes(replaced);
  for (const node of graph.nodes) {
    if (!node.outputs.some((output) => folded.has(output))) continue;
    node.outputs = node.outputs.map((output) => (folded.has(output) ? graph.uniqueName(`${output}_unread`) : output));
  }
  graph.invalidate();
}

/** Constant nodes → initializers of the same name; those that a graph output or a subgraph names stay nodes. */
export function hoistConstantNodes(graph: Graph): void {
  const fixed = new Set([...graph.outputs.map((output) => output.name), ...outerScopeReads(graph)]);
  const hoisted: Node[] = [];
  for (const node of graph.nodes) {
    const [output] = node.outputs;
    if (node.opType !== 'Constant' || node.domain !== '' || output === undefined || fixed.has(output)) continue;
    const initializer = initializerOfConstant(node, output);
    if (initializer === undefined) continue;
    graph.addInitializer(initializer);
    hoisted.push(node);
  }
  if (hoisted.length > 0) graph.removeNodes(hoisted);
}

function initializerOfConstant(node: Node, name: string): Initializer | undefined {
  const value = node.attributes.get('value');
  if (value?.kind === 'tensor') return value.value.type === 'string' ? undefined : { ...value.value, name };
  try {
    const [facts] = SHAPE_RULES.get('Constant')?.(constantContext(node)) ?? [];
    return facts?.constant === undefined ? undefined : initializerFromTensor(name, facts.constant);
  } catch (cause) {
    if (cause instanceof ShapeRuleError) return undefined;
    throw cause;
  }
}

function constantContext(node: Node) {
  const none = (): never => {
    throw new ShapeRuleError('has no inputs');
  };
  return { node, opset: 0, input: none, optional: () => undefined, integers: none };
}
