import type { Graph } from '../../onnx/graph.js';

/**
 * Puts the nodes whose outputs nobody reads last, and of these the one that is ready first at the very end. onnxruntime runs
 * a graph depth first from its last such node: each gradient of a weight is then finished as soon as it can be, and what it
 * was computed from is released, instead of waiting until the whole chain of gradients is done.
 */
export function orderForRelease(graph: Graph): void {
  const read = new Set(graph.nodes.flatMap((node) => node.inputs));
  const ends = new Set(graph.nodes.filter((node) => node.outputs.every((output) => !read.has(output))));
  graph.nodes = [...graph.nodes.filter((node) => !ends.has(node)), ...[...ends].reverse()];
  graph.invalidate();
}
