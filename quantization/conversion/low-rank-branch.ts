import { attribute, DATA_TYPE, type Graph, type Node, node } from '../../models/onnx/graph.js';
import type { NodeEmitter } from '../../models/onnx/node-emitter.js';
import { float16FromFloat32 } from '../../models/tensors/float16.js';
import type { Float32Tensor } from '../../models/tensors/tensor.js';
import type { PlannedLayer } from '../layer-plan.js';
import type { LowRankBranch } from '../quantized-parameters.js';

/**
 * y = Q(W − L) · Q(x) + up · (down · x): a layer with its float side branch (Li et al., SVDQuant, ICLR 2025, eq. 5). The sum
 * takes the name of the layer's node and the name of its output, so that whoever looks for the layer finds its whole result.
 */

/** Emits both factors; `constantOf` says how a factor becomes a value of the graph. Call it when quantizers are in place. */
export function insertLowRankBranch(
  graph: Graph,
  layer: PlannedLayer,
  branch: LowRankBranch,
  emitter: NodeEmitter,
  constantOf: (factor: Float32Tensor, label: string) => string,
): void {
  const main = graph.nodeByName(layer.node);
  const value = layer.inputs[0]?.value;
  if (main === undefined || value === undefined) throw new Error(`no layer ${layer.name} for its branch`);
  emitter.at(layer.name);
  const [down, up] = [constantOf(branch.down, 'down'), constantOf(branch.up, 'up')];
  const small = emitter.emit(layer.opType === 'Conv' ? 'Conv' : 'MatMul', [value, down], downAttributes(main), 'small');
  const side = emitter.emit(layer.opType === 'Conv' ? 'Conv' : 'MatMul', [small, up], {}, 'side');
  const quantized = emitter.unique('quantized');
  main.outputs = main.outputs.map((output) => (output === layer.output ? quantized : output));
  main.name = emitter.unique('main');
  graph.nodes.push(node('Add', [quantized, side], [layer.output], { name: layer.node }));
  graph.invalidate();
}

/** Strides, pads and dilations are the layer's; its kernel is the weight's. */
function downAttributes({ opType, attributes }: Node): Record<string, ReturnType<typeof attribute.int>> {
  if (opType !== 'Conv') return {};
  return Object.fromEntries([...attributes].filter(([name]) => name !== 'group'));
}

/** A float16 initializer and the Cast that a session folds when it opens the model: half the bytes in the file. */
export function halfConstant(emitter: NodeEmitter): (factor: Float32Tensor, label: string) => string {
  return (factor, label) => {
    const half = emitter.constant(float16FromFloat32(factor), `${label}16`);
    return emitter.emit('Cast', [half], { to: attribute.int(DATA_TYPE.float32) }, label);
  };
}

/** The same numbers as float32, for graphs that are not stored. */
export function wholeConstant(emitter: NodeEmitter): (factor: Float32Tensor, label: string) => string {
  return (factor, label) => emitter.constant(factor, label);
}
