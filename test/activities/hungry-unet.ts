import { attribute, type Graph } from '../../models/onnx/graph.js';
import { NodeEmitter } from '../../models/onnx/node-emitter.js';
import { sortTopologically } from '../../models/onnx/sort-topologically.js';
import { float32 } from '../../models/tensors/tensor.js';

/** Elements that no machine can hold: 64 TiB of float32, which the allocator refuses at once. */
const TOO_MANY = 2 ** 44;

/**
 * The denoiser with a branch that adds nothing to its input, but asks for more memory than there is whenever `batch` pictures are
 * run together: onnxruntime itself runs out of memory, at that batch alone.
 */
export function hungryAt(graph: Graph, batch: number): Graph {
  const readers = graph.consumersOf('sample');
  const emitter = new NodeEmitter(graph, 'hunger');
  const found = emitter.emit('Gather', [emitter.emit('Shape', ['sample']), emitter.int64s([0])], {
    axis: attribute.int(0),
  });
  const isBatch = emitter.emit('Equal', [found, emitter.int64s([batch])]);
  const length = emitter.emit('Where', [isBatch, emitter.int64s([TOO_MANY]), emitter.int64s([1])]);
  const zeros = emitter.emit('Expand', [emitter.constant(float32([1], [0])), length]);
  const none = emitter.emit('ReduceMax', [zeros], { keepdims: attribute.int(1) });
  const fed = emitter.emit('Add', ['sample', none]);
  for (const reader of readers) reader.inputs = reader.inputs.map((input) => (input === 'sample' ? fed : input));
  sortTopologically(graph);
  return graph;
}
