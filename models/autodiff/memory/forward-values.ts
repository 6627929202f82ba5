import type { Node } from '../../onnx/graph.js';
import type { Shapes } from '../../onnx/shape-inference.js';
import { subgraphReads } from '../../onnx/subgraph-reads.js';
import { elementCount } from '../../tensors/tensor.js';

/** Facts about the values of a graph's forward part. */

/** Values that depend on some of `sources`, sources included. */
export function dependentValues(nodes: readonly Node[], sources: Iterable<string>): Set<string> {
  const found = new Set(sources);
  for (const node of nodes) {
    if (![...node.inputs, ...subgraphReads(node)].some((input) => found.has(input))) continue;
    for (const output of node.outputs) if (output !== '') found.add(output);
  }
  return found;
}

/** Forward values that backward nodes read. */
export function forwardReads(forward: readonly Node[], backward: readonly Node[]): Set<string> {
  const made = new Set(forward.flatMap((node) => node.outputs));
  return new Set(backward.flatMap((node) => node.inputs).filter((input) => input !== '' && made.has(input)));
}

const BYTES_PER_ELEMENT: Readonly<Record<string, number>> = {
  bool: 1,
  uint8: 1,
  int8: 1,
  float16: 2,
  int64: 8,
  float64: 8,
};
const DEFAULT_BYTES = 4;

/** Bytes of a value in memory; 0 when its dims are not known. */
export function sizeOf(shapes: Shapes, value: string): number {
  if (!shapes.has(value)) return 0;
  return elementCount(shapes.dimsOf(value)) * (BYTES_PER_ELEMENT[shapes.typeOf(value)] ?? DEFAULT_BYTES);
}
