import type { Graph } from '../../models/onnx/graph.js';

/** Constants of these types give shapes and axes, not weights. */
const NOT_WEIGHTS: ReadonlySet<string> = new Set(['int64', 'int32', 'bool']);

/**
 * Bytes of the weight that a node of a converted denoiser reads: codes with their scales, or floats where it was left alone.
 * Found by following its first two inputs back through nodes that compute from constants only; a bias is not counted.
 * @returns 0 for a product of two activations, undefined when the graph has no such node
 */
export function weightBytes(graph: Graph, nodeName: string): number | undefined {
  const node = graph.nodeByName(nodeName);
  if (node === undefined) return undefined;
  for (const input of node.inputs.slice(0, 2)) {
    const constants = constantsBehind(graph, input);
    if (constants === null) continue;
    return [...constants].reduce((sum, name) => {
      const found = graph.initializers.get(name);
      return found === undefined || NOT_WEIGHTS.has(found.type) ? sum : sum + found.raw.byteLength;
    }, 0);
  }
  return 0;
}

/** Initializers that a value is computed from; null when an input of the graph is among what it depends on. */
function constantsBehind(graph: Graph, value: string): Set<string> | null {
  const constants = new Set<string>();
  const seen = new Set<string>();
  const waiting = [value];
  for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
    if (name === '' || seen.has(name)) continue;
    seen.add(name);
    if (graph.initializers.has(name)) {
      constants.add(name);
      continue;
    }
    const producer = graph.producerOf(name);
    if (producer === undefined) return null;
    waiting.push(...producer.inputs);
  }
  return constants;
}
