import { checkModel } from '../../models/onnx/check-model.js';
import type { Graph } from '../../models/onnx/graph.js';
import { NodeEmitter } from '../../models/onnx/node-emitter.js';
import { removeDeadCode } from '../../models/onnx/remove-dead-code.js';
import type { Shapes } from '../../models/onnx/shape-inference.js';
import { shortenValueNames } from '../../models/onnx/simplify/shorten-value-names.js';
import type { QuantizationPlan } from '../layer-plan.js';
import type { DenoiserInputs } from '../layer-roles.js';
import type { QuantizedParameters } from '../quantized-parameters.js';
import { insertQuantizers } from './insert-quantizers.js';
import { qdqLowering } from './lower-to-qdq.js';

export interface ConvertDenoiserOptions {
  /** The transformed denoiser, as planned; not changed. */
  readonly graph: Graph;
  /** For any batch: only ranks and channels are read. */
  readonly shapes: Shapes;
  readonly plan: QuantizationPlan;
  readonly parameters: QuantizedParameters;
  readonly inputs: DenoiserInputs;
}

/**
 * The quantized denoiser: opset-21 QuantizeLinear/DequantizeLinear with packed INT4 codes. Inner values get short names and
 * shape notes are dropped, which saves a third of a small model's graph; nodes of planned layers keep their names.
 * @throws NibbleflowError InvalidModel when plan and graph do not fit
 */
export function convertDenoiser({ graph, shapes, plan, parameters, inputs }: ConvertDenoiserOptions): Graph {
  const converted = graph.clone();
  const emitter = new NodeEmitter(converted, 'q');
  const lowering = qdqLowering({ graph: converted, shapes, parameters, timestep: inputs.timestep }, emitter);
  insertQuantizers(converted, plan, lowering, emitter);
  removeDeadCode(converted);
  if (plan.fixesSize) fixSize(converted, shapes);
  converted.valueInfos.clear();
  shortenValueNames(converted);
  shortenNodeNames(converted, new Set(plan.layers.map((layer) => layer.node)));
  checkModel(converted, 'the quantized denoiser');
  return converted;
}

/** Declares the planned dims of all inputs, but any batch. */
function fixSize(graph: Graph, shapes: Shapes): void {
  graph.inputs = graph.inputs.map((input) => ({
    ...input,
    shape: (input.shape ?? []).map((dim, axis) => (axis === 0 ? dim : (shapes.dimsOf(input.name)[axis] ?? dim))),
  }));
}

/** `n0`, `n1` … in graph order for every node that nobody needs to find again. */
function shortenNodeNames(graph: Graph, kept: ReadonlySet<string>): void {
  for (const [index, node] of graph.nodes.entries()) {
    if (!kept.has(node.name)) node.name = `n${index}`;
  }
  graph.invalidate();
}
