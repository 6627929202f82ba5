import type { Graph, Node } from './graph.js';
import { subgraphReads } from './subgraph-reads.js';

/**
 * Removes nodes that no graph output depends on, then initializers and value infos that nothing reads or computes.
 * @returns how many nodes were removed
 */
export function removeDeadCode(graph: Graph): number {
  const wanted = new Set(graph.outputs.map((output) => output.name));
  const kept = new Set<Node>();
  for (const node of graph.nodes.toReversed()) {
    if (!node.outputs.some((output) => wanted.has(output))) continue;
    kept.add(node);
    for (const input of node.inputs) wanted.add(input);
    for (const read of subgraphReads(node)) wanted.add(read);
  }
  const dead = graph.nodes.filter((node) => !kept.has(node));
  if (dead.length > 0) graph.removeNodes(dead);
  for (const name of [...graph.initializers.keys()]) if (!wanted.has(name)) graph.initializers.delete(name);
  const computed = new Set(graph.nodes.flatMap((node) => node.outputs));
  for (const name of [...graph.valueInfos.keys()]) {
    if (!computed.has(name) && !graph.initializers.has(name)) graph.valueInfos.delete(name);
  }
  return dead.length;
}
