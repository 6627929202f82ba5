import type { Graph } from '../../models/onnx/graph.js';

/** Where the bytes of a quantized denoiser's file are. */
export interface BytesByPart {
  readonly total: number;
  /** Integer codes of weights. */
  readonly codes: number;
  /** Scales of weights. */
  readonly scales: number;
  /** Scales and zero points of activations, by timestep or static. */
  readonly tables: number;
  /** Float tensors: biases, norms, layers that were skipped. */
  readonly float: number;
  /** Nodes, names, shape constants. */
  readonly graph: number;
}

/**
 * Splits the bytes of a converted denoiser. Codes are integer initializers that a DequantizeLinear reads, scales what such a
 * node reads beside them, tables what conversion named `….scales` and `….zeros` otherwise.
 * @param total bytes of the file
 */
export function bytesByPart(graph: Graph, total: number): BytesByPart {
  const parts = { codes: 0, scales: 0, tables: 0, float: 0 };
  const partOf = new Map<string, keyof typeof parts>();
  for (const node of graph.nodes) {
    const [codes = '', scales = ''] = node.inputs;
    if (node.opType !== 'DequantizeLinear' || !graph.initializers.has(codes)) continue;
    partOf.set(codes, 'codes');
    partOf.set(scales, 'scales');
  }
  for (const { name, type, raw } of graph.initializers.values()) {
    const isTable = /\.(scales|zeros)(_\d+)?$/.test(name);
    const part = partOf.get(name) ?? (isTable ? 'tables' : type === 'float32' || type === 'float16' ? 'float' : null);
    if (part !== null) parts[part] += raw.byteLength;
  }
  return { total, ...parts, graph: total - parts.codes - parts.scales - parts.tables - parts.float };
}
