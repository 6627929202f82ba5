import { NibbleflowError } from '../../contracts/errors.js';
import { type Graph, initializerFromTensor, type Node } from '../../models/onnx/graph.js';
import type { NodeEmitter } from '../../models/onnx/node-emitter.js';
import { sortTopologically } from '../../models/onnx/sort-topologically.js';
import type { Float32Tensor } from '../../models/tensors/tensor.js';
import { type ActivationQuantizer, activationQuantizers } from '../activation-quantizers.js';
import type { PlannedLayer, PlannedWeight, QuantizationPlan } from '../layer-plan.js';
import type { LowRankBranch } from '../quantized-parameters.js';
import { insertLowRankBranch } from './low-rank-branch.js';

/** How quantized values are expressed: as Quantize/DequantizeLinear, or as float arithmetic. */
export interface Lowering {
  /** Emits what turns `quantizer.value` into its quantized-and-dequantized version; returns that value. */
  activation(quantizer: ActivationQuantizer, emitter: NodeEmitter): string;
  /** Emits the dequantized weight of a layer; returns its value. Biases are the lowering's to replace, too. */
  weight(layer: PlannedLayer, weight: PlannedWeight, emitter: NodeEmitter): string;
  /** The float side branches by layer, and how a factor of one becomes a value; absent: none. */
  readonly branches?: {
    readonly byLayer: ReadonlyMap<string, LowRankBranch>;
    constant(factor: Float32Tensor, label: string): string;
  };
  /** Constants of the graph that take other numbers, by initializer. */
  readonly norms?: ReadonlyMap<string, Float32Tensor> | undefined;
}

/**
 * Puts the quantizers of a plan into the graph, in place: every planned layer afterwards reads quantized inputs and weights.
 * The result is topologically sorted. Throws InvalidModel when plan and graph do not fit.
 */
export function insertQuantizers(graph: Graph, plan: QuantizationPlan, lowering: Lowering, emitter: NodeEmitter): void {
  for (const [name, value] of lowering.norms ?? []) {
    if (graph.initializers.has(name)) graph.addInitializer(initializerFromTensor(name, value));
  }
  for (const quantizer of activationQuantizers(plan)) {
    const quantized = lowering.activation(quantizer, emitter.at(quantizer.id));
    for (const reader of quantizer.readers) {
      const node = nodeOf(graph, reader.node);
      if (node.inputs[reader.index] !== quantizer.value) throw mismatch(reader.node);
      node.inputs[reader.index] = quantized;
    }
  }
  for (const layer of plan.layers) {
    if (layer.weight === null || layer.skipped !== null) continue;
    const dequantized = lowering.weight(layer, layer.weight, emitter.at(layer.name));
    replaceWeight(graph, layer, layer.weight.initializer, dequantized);
  }
  for (const layer of plan.layers) {
    const branch = lowering.branches?.byLayer.get(layer.name);
    if (branch === undefined || lowering.branches === undefined) continue;
    insertLowRankBranch(graph, layer, branch, emitter, lowering.branches.constant);
  }
  graph.invalidate();
  sortTopologically(graph);
}

function nodeOf(graph: Graph, name: string): Node {
  const found = graph.nodeByName(name);
  if (found === undefined) throw mismatch(name);
  return found;
}

/** The layer's own node reads the weight directly, or through a Transpose that becomes part of the dequantized path. */
function replaceWeight(graph: Graph, layer: PlannedLayer, initializer: string, dequantized: string): void {
  const node = nodeOf(graph, layer.node);
  if (node.inputs.includes(initializer)) {
    node.inputs = node.inputs.map((input) => (input === initializer ? dequantized : input));
  } else {
    const [between] = graph.consumersOf(initializer);
    if (between === undefined || !node.inputs.some((input) => between.outputs.includes(input)))
      throw mismatch(layer.node);
    between.inputs = between.inputs.map((input) => (input === initializer ? dequantized : input));
  }
  graph.invalidate();
  if (graph.consumersOf(initializer).length === 0) graph.initializers.delete(initializer);
}

function mismatch(node: string): NibbleflowError {
  return new NibbleflowError('InvalidModel', 'The plan was made for another graph', {
    where: `node ${node}`,
    fix: 'Plan again; plan, transform and conversion must see the same pipeline and recipe.',
  });
}
