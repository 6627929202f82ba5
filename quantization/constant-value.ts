import type { Graph, Initializer } from '../models/onnx/graph.js';

/** A constant as the graph holds it: an initializer, or the tensor of a Constant node under the name of its output. */
export interface ConstantValue {
  /** Value name that readers of the constant's bytes use. */
  readonly name: string;
  readonly constant: Initializer;
}

/** What `value` is when it is an initializer, the output of a Constant node, or an Identity of one; else undefined. */
export function constantValue(graph: Graph, value: string): ConstantValue | undefined {
  const initializer = graph.initializers.get(value);
  if (initializer !== undefined) return { name: value, constant: initializer };
  const producer = graph.producerOf(value);
  if (producer?.opType === 'Identity') return constantValue(graph, producer.inputs[0] ?? '');
  if (producer?.opType !== 'Constant') return undefined;
  const found = producer.attributes.get('value');
  return found?.kind === 'tensor' ? { name: value, constant: { ...found.value, name: value } } : undefined;
}
