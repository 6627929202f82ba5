import type { Graph, Node } from '../models/onnx/graph.js';
import type { DataDependencies } from './data-dependencies.js';

/** What lies behind a value: the nearest layers, and the operators passed on the way to them. */
export interface Trace {
  readonly layers: ReadonlySet<Node>;
  readonly passed: ReadonlySet<string>;
}

export interface TraceOptions {
  readonly graph: Graph;
  readonly dependencies: DataDependencies;
  /** Where tracing ends. */
  readonly isLayer: (node: Node) => boolean;
  /** Operators that tracing passes; any other ends a path without a layer. */
  readonly through: ReadonlySet<string>;
}

/** Operators that move elements around without changing them. */
export const MOVES = [
  'Identity',
  'Cast',
  'Dropout',
  'Reshape',
  'Transpose',
  'Flatten',
  'Squeeze',
  'Unsqueeze',
  'Slice',
  'Split',
  'Gather',
  'Expand',
] as const;

const NO_TRACE: Trace = { layers: new Set(), passed: new Set() };

/**
 * A function from a value to the layers nearest behind it. An Add of two computed values is passed only when both lead to the
 * same layer (a rotation or an approximated activation); otherwise it is a residual connection, where a path ends.
 */
export function layersBehind(options: TraceOptions): (value: string) => Trace {
  const memo = new Map<string, Trace>();
  const trace = (value: string): Trace => {
    const known = memo.get(value);
    if (known !== undefined) return known;
    const found = traceProducer(options, value, trace);
    memo.set(value, found);
    return found;
  };
  return trace;
}

function traceProducer(options: TraceOptions, value: string, trace: (value: string) => Trace): Trace {
  const producer = options.graph.producerOf(value);
  if (producer === undefined) return NO_TRACE;
  if (options.isLayer(producer)) return { layers: new Set([producer]), passed: new Set() };
  if (!options.through.has(producer.opType)) return NO_TRACE;
  const computed = producer.inputs.filter((input) => options.dependencies(input).size > 0);
  const behind = computed.map(trace);
  const layers = new Set(behind.flatMap((one) => [...one.layers]));
  if (producer.opType === 'Add' && computed.length > 1 && layers.size !== 1) return NO_TRACE;
  return { layers, passed: new Set([producer.opType, ...behind.flatMap((one) => [...one.passed])]) };
}

/** The layers that `value` reaches through operators of `through`. */
export function layersAhead(
  graph: Graph,
  value: string,
  through: ReadonlySet<string>,
  isLayer: (node: Node) => boolean,
): Set<Node> {
  const layers = new Set<Node>();
  const seen = new Set<string>();
  const pending = [value];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    if (seen.has(next)) continue;
    seen.add(next);
    for (const reader of graph.consumersOf(next)) {
      if (isLayer(reader)) layers.add(reader);
      else if (through.has(reader.opType)) pending.push(...reader.outputs);
    }
  }
  return layers;
}
