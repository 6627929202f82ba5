import { attribute, type Graph, type Node } from '../../models/onnx/graph.js';
import { NodeEmitter } from '../../models/onnx/node-emitter.js';
import { removeDeadCode } from '../../models/onnx/remove-dead-code.js';
import type { Shapes } from '../../models/onnx/shape-inference.js';
import { sortTopologically } from '../../models/onnx/sort-topologically.js';
import { activationQuantizers } from '../activation-quantizers.js';
import { floatLowering } from '../conversion/lower-to-float.js';
import type { PlannedLayer, QuantizationPlan } from '../layer-plan.js';
import type { QuantizedParameters } from '../quantized-parameters.js';

/**
 * The float denoiser with a quantized twin beside every quantized layer. Twins read what the float layers read, so each error
 * is the layer's own:
 *
 *   e_l = ‖ y_l − ŷ_l ‖₂ / ‖ y_l ‖₂,   ŷ_l = layer(Q(x_l), Q(W_l))
 */
export interface LayerErrorGraph {
  readonly graph: Graph;
  /** Scalar outputs Σ(y − ŷ)² and Σy² of a batch, by layer name. */
  readonly outputs: ReadonlyMap<string, { readonly error: string; readonly energy: string }>;
}

export interface LayerErrorSpec {
  readonly graph: Graph;
  readonly shapes: Shapes;
  readonly plan: QuantizationPlan;
  readonly parameters: QuantizedParameters;
  readonly timestep: string | null;
}

/** @throws RangeError when plan and graph do not fit */
export function buildLayerErrorGraph(spec: LayerErrorSpec): LayerErrorGraph {
  const { shapes, plan, parameters, timestep } = spec;
  const graph = spec.graph.clone();
  const emitter = new NodeEmitter(graph, 'error');
  const context = { shapes, parameters, timestep, trainedLayers: new Set<string>(), trainRanges: false };
  const lowering = floatLowering(graph, context, emitter);
  const quantized = new Map<string, string>();
  for (const quantizer of activationQuantizers(plan)) {
    const value = lowering.activation(quantizer, emitter.at(quantizer.id));
    for (const { node, index } of quantizer.readers) quantized.set(inputKey(node, index), value);
  }
  const outputs = new Map<string, { error: string; energy: string }>();
  for (const layer of plan.layers) {
    if (layer.skipped !== null) continue;
    const weight = layer.weight === null ? null : lowering.weight(layer, layer.weight, emitter.at(layer.name));
    const twin = emitTwin(graph, layer, weight, quantized, emitter.at(layer.name));
    const sum = (value: string, label: string): string =>
      emitter.emit('ReduceSumSquare', [value], { keepdims: attribute.int(0) }, label);
    const error = sum(emitter.emit('Sub', [layer.output, twin]), 'error');
    outputs.set(layer.name, { error, energy: sum(layer.output, 'energy') });
  }
  const scalars = [...outputs.values()].flatMap(({ error, energy }) => [error, energy]);
  graph.outputs = scalars.map((name) => ({ name, type: 'float32' as const, shape: [] }));
  graph.invalidate();
  sortTopologically(graph);
  removeDeadCode(graph);
  return { graph, outputs };
}

function inputKey(node: string, index: number): string {
  return `${index} ${node}`;
}

/** A copy of the layer's node that reads quantized inputs and the dequantized weight, also behind a Transpose. */
function emitTwin(
  graph: Graph,
  layer: PlannedLayer,
  weight: string | null,
  quantized: ReadonlyMap<string, string>,
  emitter: NodeEmitter,
): string {
  const node = graph.nodeByName(layer.node);
  if (node === undefined) throw new RangeError(`the graph has no node ${layer.node}`);
  const inputs = node.inputs.map((input, index) => {
    const activation = quantized.get(inputKey(layer.node, index));
    if (activation !== undefined) return activation;
    if (weight === null || layer.weight === null) return input;
    if (input === layer.weight.initializer) return weight;
    const between = graph.producerOf(input);
    if (between === undefined || !between.inputs.includes(layer.weight.initializer)) return input;
    return copyOf(
      between,
      between.inputs.map((read) => (read === layer.weight?.initializer ? weight : read)),
      emitter,
    );
  });
  return copyOf(node, inputs, emitter);
}

function copyOf(node: Node, inputs: readonly string[], emitter: NodeEmitter): string {
  return emitter.emit(node.opType, inputs, Object.fromEntries(node.attributes), 'twin');
}
