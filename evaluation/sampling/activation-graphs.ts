import { attribute, DATA_TYPE, type Graph } from '../../models/onnx/graph.js';
import { NodeEmitter } from '../../models/onnx/node-emitter.js';
import { removeDeadCode } from '../../models/onnx/remove-dead-code.js';
import { sortTopologically } from '../../models/onnx/sort-topologically.js';
import { int64, tensor } from '../../models/tensors/tensor.js';
import { type ActivationRanges, DNA_BINS } from '../statistics/activation-dna.js';

/**
 * A denoiser whose only outputs are numbers about some of its inner values, so that the values themselves never leave the
 * engine. The number of rows of a call stays free. ScatterElements with `add` needs opset 16.
 */

/** Smallest and largest of each value: outputs `low` and `high`, float32 [values]. */
export function activationRangeGraph(graph: Graph, values: readonly string[]): Graph {
  const copy = graph.clone();
  const emitter = new NodeEmitter(copy, 'dna');
  const flat = values.map((value) => flattened(emitter, value));
  const reduced = (opType: string): string[] =>
    flat.map((value) => emitter.emit(opType, [value], { keepdims: attribute.int(1) }));
  const low = emitter.emit('Concat', reduced('ReduceMin'), { axis: attribute.int(0) }, 'low');
  const high = emitter.emit('Concat', reduced('ReduceMax'), { axis: attribute.int(0) }, 'high');
  return withOnly(copy, { low, high });
}

/** Counts of each value's elements per bin: output `counts`, int64 [values · DNA_BINS]. Not-a-numbers count in the first bin. */
export function activationHistogramGraph(graph: Graph, values: readonly string[], ranges: ActivationRanges): Graph {
  const copy = graph.clone();
  const emitter = new NodeEmitter(copy, 'dna');
  const last = DNA_BINS - 1;
  const empty = emitter.constant(tensor('int64', [DNA_BINS], new BigInt64Array(DNA_BINS)), 'empty');
  const counts = values.map((value, index) => {
    const moved = emitter.emit('Sub', [flattened(emitter, value), emitter.scalar(ranges.low[index] as number)]);
    const scaled = emitter.emit('Div', [moved, emitter.scalar(ranges.binWidth[index] as number)]);
    const clipped = emitter.emit('Clip', [scaled, emitter.scalar(0), emitter.scalar(last)]);
    const whole = emitter.emit('Cast', [clipped], { to: attribute.int(DATA_TYPE.int64) });
    const limit = (at: number): string => emitter.constant(int64([], [at]));
    const bins = emitter.emit('Clip', [whole, limit(0), limit(last)]);
    const shape = emitter.emit('Shape', [bins]);
    const one = attribute.tensor({ name: 'one', type: 'int64', dims: [1], raw: Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0) });
    const ones = emitter.emit('ConstantOfShape', [shape], { value: one });
    const options = { axis: attribute.int(0), reduction: attribute.string('add') };
    return emitter.emit('ScatterElements', [empty, bins, ones], options);
  });
  return withOnly(copy, { counts: emitter.emit('Concat', counts, { axis: attribute.int(0) }, 'counts') });
}

function flattened(emitter: NodeEmitter, value: string): string {
  const single = emitter.emit('Cast', [value], { to: attribute.int(DATA_TYPE.float32) });
  return emitter.emit('Reshape', [single, emitter.int64s([-1])]);
}

/** The graph with these values, renamed, as its only outputs and with what they need alone. */
function withOnly(graph: Graph, outputs: Readonly<Record<string, string>>): Graph {
  const emitter = new NodeEmitter(graph, 'dna');
  graph.outputs = Object.entries(outputs).map(([label, value]) => ({
    name: emitter.emit('Identity', [value], {}, `${label}_out`),
    type: label === 'counts' ? 'int64' : 'float32',
    shape: null,
  }));
  graph.valueInfos.clear();
  graph.invalidate();
  sortTopologically(graph);
  removeDeadCode(graph);
  return graph;
}
