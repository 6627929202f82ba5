import { foldConstants } from '../../models/onnx/fold-constants.js';
import { attribute } from '../../models/onnx/graph.js';
import { NodeEmitter } from '../../models/onnx/node-emitter.js';
import { removeDeadCode } from '../../models/onnx/remove-dead-code.js';
import { inferShapes } from '../../models/onnx/shape-inference.js';
import { sortTopologically } from '../../models/onnx/sort-topologically.js';
import { activationQuantizers } from '../activation-quantizers.js';
import { floatLowering } from '../conversion/lower-to-float.js';
import type { PlannedLayer } from '../layer-plan.js';
import { dequantizeCodes, roundToCodes } from '../rounding/round-nearest.js';
import type { StatisticsGraph, StatisticsGraphSpec } from './statistics-graph.js';

/** The moments of a layer's float and quantized output that a refit needs (rounding/output-refit.ts), as keys of sums. */
export const REFIT_MOMENTS = ['product', 'square'] as const;

export function refitKey(moment: (typeof REFIT_MOMENTS)[number], layer: string): string {
  return `refit-${moment}/${layer}`;
}

/** The float denoiser with each layer a second time on quantized inputs and weights, and the means of both as outputs. */
export function refitGraph(spec: StatisticsGraphSpec): StatisticsGraph {
  const graph = spec.graph.clone();
  foldConstants(graph, inferShapes(graph, spec.feedDims));
  graph.inputs = graph.inputs.map((input) => ({ ...input, shape: spec.feedDims[input.name] ?? input.shape }));
  const shapes = inferShapes(graph, spec.feedDims);
  const emitter = new NodeEmitter(graph, 'refit');
  const { plan, parameters, timestep } = spec;
  const context = { shapes, parameters, timestep, trainedLayers: new Set<string>(), trainRanges: false };
  const lowering = floatLowering(graph, context, emitter);
  const byName = new Map(spec.layers.map((layer) => [layer.name, layer]));
  const outputs = new Map<string, { value: string; count: number }>();
  for (const quantizer of activationQuantizers(plan)) {
    const readers = quantizer.readers.flatMap(({ layer, index }) => (index === 0 ? (byName.get(layer) ?? []) : []));
    if (readers.length === 0) continue;
    const quantized = lowering.activation(quantizer, emitter.at(quantizer.id));
    for (const layer of readers) {
      const both = layerTwice(spec, layer, { float: quantizer.value, quantized }, emitter);
      const rank = shapes.dimsOf(layer.output).length;
      const channelAxis = layer.opType === 'Conv' ? 1 : rank - 1;
      const axes = emitter.int64s(
        Array.from({ length: rank }, (_, axis) => axis).filter((axis) => axis !== channelAxis),
      );
      for (const moment of REFIT_MOMENTS) {
        const value = emitter.emit('ReduceMean', [both[moment], axes], { keepdims: attribute.int(0) });
        outputs.set(refitKey(moment, layer.name), { value, count: 1 });
      }
    }
  }
  graph.outputs = [...outputs.values()].map(({ value }) => ({ name: value, type: 'float32', shape: null }));
  graph.valueInfos.clear();
  graph.invalidate();
  sortTopologically(graph);
  removeDeadCode(graph);
  return { graph, outputs, probe: null };
}

function layerTwice(
  { graph, parameters }: StatisticsGraphSpec,
  layer: PlannedLayer,
  inputs: { readonly float: string; readonly quantized: string },
  emitter: NodeEmitter,
): Record<(typeof REFIT_MOMENTS)[number], string> {
  const held = parameters.weights.get(layer.name);
  const node = graph.nodeByName(layer.node);
  const { weight } = layer;
  if (held === undefined || node === undefined || weight === null) throw new Error(`no weight for layer ${layer.name}`);
  const codes = roundToCodes(held.weight, held.scales, weight);
  const rounded = dequantizeCodes(codes, weight.dims, held.scales, weight);
  const attributes = Object.fromEntries(node.attributes);
  const run = (value: string, constant: typeof rounded): string =>
    emitter.emit(layer.opType, [value, emitter.constant(constant, 'weight')], attributes);
  const float = run(inputs.float, held.weight);
  const quantized = run(inputs.quantized, rounded);
  return {
    product: emitter.emit('Mul', [float, quantized]),
    square: emitter.emit('Mul', [quantized, quantized]),
  };
}
