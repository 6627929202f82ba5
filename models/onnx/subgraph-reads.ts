import type { Graph, Node } from './graph.js';
import type { AttributeProto, GraphProto } from './onnx_pb.js';

/**
 * The values of the surrounding graph that a node reads inside its subgraphs (bodies of If, Loop, Scan); they are not among
 * the node's inputs, so edits must ask for them separately. An upper bound: names that a subgraph defines itself are included.
 */
export function subgraphReads(node: Node): ReadonlySet<string> {
  const names = new Set<string>();
  for (const attribute of node.attributes.values()) {
    if (attribute.kind === 'opaque') collectFromAttribute(attribute.value, names);
  }
  return names;
}

/** All values of `graph` that any subgraph reads. */
export function outerScopeReads(graph: Graph): ReadonlySet<string> {
  return new Set(graph.nodes.flatMap((node) => [...subgraphReads(node)]));
}

/** Operators of the standard domain that a node's subgraphs use, at any depth. */
export function subgraphOperators(node: Node): ReadonlySet<string> {
  const operators = new Set<string>();
  const visit = (value: unknown): void => {
    const { g, graphs = [] } = value as Partial<AttributeProto>;
    for (const graph of g === undefined ? graphs : [g, ...graphs]) {
      for (const inner of graph.node) {
        if (inner.domain === '' || inner.domain === 'ai.onnx') operators.add(inner.opType);
        inner.attribute.forEach(visit);
      }
    }
  };
  for (const attribute of node.attributes.values()) if (attribute.kind === 'opaque') visit(attribute.value);
  return operators;
}

function collectFromAttribute(value: unknown, names: Set<string>): void {
  const { g, graphs } = value as Partial<AttributeProto>;
  if (g !== undefined) collectFromGraph(g, names);
  for (const graph of graphs ?? []) collectFromGraph(graph, names);
}

function collectFromGraph(graph: GraphProto, names: Set<string>): void {
  for (const node of graph.node) {
    for (const input of node.input) names.add(input);
    for (const attribute of node.attribute) collectFromAttribute(attribute, names);
  }
  for (const output of graph.output) names.add(output.name);
}
