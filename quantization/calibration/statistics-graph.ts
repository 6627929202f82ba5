import { buildBackward } from '../../models/autodiff/build-backward.js';
import { foldConstants } from '../../models/onnx/fold-constants.js';
import { attribute, type Graph } from '../../models/onnx/graph.js';
import { NodeEmitter } from '../../models/onnx/node-emitter.js';
import { removeDeadCode } from '../../models/onnx/remove-dead-code.js';
import { inferShapes, type Shapes } from '../../models/onnx/shape-inference.js';
import { sortTopologically } from '../../models/onnx/sort-topologically.js';
import { elementCount } from '../../models/tensors/tensor.js';
import { type ActivationQuantizer, activationQuantizers } from '../activation-quantizers.js';
import { floatLowering } from '../conversion/lower-to-float.js';
import type { PlannedLayer, QuantizationPlan } from '../layer-plan.js';
import type { QuantizedParameters } from '../quantized-parameters.js';

export interface StatisticsGraphSpec {
  /** The transformed float denoiser, as planned; not changed. */
  readonly graph: Graph;
  readonly plan: QuantizationPlan;
  readonly parameters: QuantizedParameters;
  readonly timestep: string | null;
  /** The output whose error counts. */
  readonly output: string;
  /** Dims of the feeds of one batch, by input. */
  readonly feedDims: Readonly<Record<string, readonly number[]>>;
  /** Layers whose input and output are looked at. */
  readonly layers: readonly PlannedLayer[];
  readonly withSensitivity: boolean;
}

export interface StatisticsGraph {
  readonly graph: Graph;
  /** Key of LayerStatisticsSum → output of the graph, and the rows that one run adds. */
  readonly outputs: ReadonlyMap<string, { readonly value: string; readonly count: number }>;
  /** Input for the probe v, dims of the denoiser's output; null without sensitivity. */
  readonly probe: { readonly name: string; readonly dims: readonly number[] } | null;
}

/** The input that carries v. */
const PROBE = 'statistics/probe';

/** The float denoiser with sums of the second moments of a batch as its only outputs (layer-statistics.ts). */
export function statisticsGraph(spec: StatisticsGraphSpec): StatisticsGraph {
  const graph = spec.graph.clone();
  foldConstants(graph, inferShapes(graph, spec.feedDims));
  graph.inputs = graph.inputs.map((input) => ({ ...input, shape: spec.feedDims[input.name] ?? input.shape }));
  const shapes = inferShapes(graph, spec.feedDims);
  const outputs = new Map<string, { value: string; count: number }>();
  const probe = spec.withSensitivity ? addSensitivity(graph, shapes, spec, outputs) : null;
  addMoments(graph, shapes, spec, outputs);
  graph.outputs = [...outputs.values()].map(({ value }) => ({ name: value, type: 'float32', shape: null }));
  graph.valueInfos.clear();
  graph.invalidate();
  sortTopologically(graph);
  removeDeadCode(graph);
  return { graph, outputs, probe };
}

type Outputs = Map<string, { value: string; count: number }>;

function addSensitivity(
  graph: Graph,
  shapes: Shapes,
  { output, layers, feedDims }: StatisticsGraphSpec,
  outputs: Outputs,
): StatisticsGraph['probe'] {
  const dims = shapes.dimsOf(output);
  graph.inputs.push({ name: PROBE, type: 'float32', shape: [...dims] });
  const emitter = new NodeEmitter(graph, 'probe');
  const product = emitter.emit('Mul', [output, PROBE]);
  const loss = emitter.emit('ReduceSum', [product], { keepdims: attribute.int(0) }, 'loss');
  const all = inferShapes(graph, { ...feedDims, [PROBE]: dims });
  const values = [...new Set(layers.map((layer) => layer.output))];
  const gradients = buildBackward(graph, all, { loss, wrt: values });
  const after = new NodeEmitter(graph, 'sensitivity');
  for (const layer of layers) {
    const own = shapes.dimsOf(layer.output);
    const channelAxis = layer.opType === 'Conv' ? 1 : own.length - 1;
    const axes = after.int64s(own.map((_, axis) => axis).filter((axis) => axis !== channelAxis));
    const value = after.emit('ReduceSumSquare', [gradients.get(layer.output) ?? '', axes], {
      keepdims: attribute.int(0),
    });
    outputs.set(`sensitivity/${layer.name}`, { value, count: dims[0] ?? 1 });
  }
  return { name: PROBE, dims };
}

function addMoments(
  graph: Graph,
  shapes: Shapes,
  { plan, parameters, timestep, layers }: StatisticsGraphSpec,
  outputs: Outputs,
): void {
  const emitter = new NodeEmitter(graph, 'statistics');
  const context = { shapes, parameters, timestep, trainedLayers: new Set<string>(), trainRanges: false };
  const lowering = floatLowering(graph, context, emitter);
  const wanted = new Set(layers.map(({ name }) => name));
  for (const quantizer of activationQuantizers(plan)) {
    if (!quantizer.readers.some(({ layer }) => wanted.has(layer))) continue;
    const quantized = lowering.activation(quantizer, emitter.at(quantizer.id));
    const error = emitter.emit('Sub', [quantized, quantizer.value], {}, 'error');
    const dims = shapes.dimsOf(quantizer.value);
    const axis = (quantizer.channelAxis + dims.length) % dims.length;
    const count = elementCount(dims) / (dims[axis] ?? 1);
    outputs.set(`error/${quantizer.id}`, { value: gram(error, dims, quantizer, emitter), count });
    outputs.set(`input/${quantizer.id}`, { value: gram(quantizer.value, dims, quantizer, emitter), count });
  }
}

/** Σ over all positions of z zᵀ, [C, C]. */
function gram(
  value: string,
  dims: readonly number[],
  { channelAxis }: ActivationQuantizer,
  emitter: NodeEmitter,
): string {
  const axis = (channelAxis + dims.length) % dims.length;
  const channels = dims[axis] ?? 1;
  const order = [axis, ...dims.map((_, at) => at).filter((at) => at !== axis)];
  const first = emitter.emit('Transpose', [value], { perm: attribute.ints(order) });
  const rows = emitter.emit('Reshape', [first, emitter.int64s([channels, -1])]);
  const columns = emitter.emit('Transpose', [rows], { perm: attribute.ints([1, 0]) });
  return emitter.emit('MatMul', [rows, columns], {}, 'gram');
}
