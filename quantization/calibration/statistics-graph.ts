import { buildBackward } from '../../models/autodiff/build-backward.js';
import { foldConstants } from '../../models/onnx/fold-constants.js';
import { attribute, type Graph } from '../../models/onnx/graph.js';
import { NodeEmitter } from '../../models/onnx/node-emitter.js';
import { removeDeadCode } from '../../models/onnx/remove-dead-code.js';
import { inferShapes, type Shapes } from '../../models/onnx/shape-inference.js';
import { sortTopologically } from '../../models/onnx/sort-topologically.js';
import { elementCount } from '../../models/tensors/tensor.js';
import { activationQuantizers } from '../activation-quantizers.js';
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
  const backward = spec.withSensitivity ? addGradients(graph, shapes, spec) : null;
  const moments = new Moments(graph, shapes, spec);
  moments.add(backward?.gradients ?? null);
  const outputs = moments.outputs;
  graph.outputs = [...outputs.values()].map(({ value }) => ({ name: value, type: 'float32', shape: null }));
  graph.valueInfos.clear();
  graph.invalidate();
  sortTopologically(graph);
  removeDeadCode(graph);
  return { graph, outputs, probe: backward?.probe ?? null };
}

type Outputs = Map<string, { value: string; count: number }>;

/** The gradient of v·y by every layer's output: by layer name. */
function addGradients(
  graph: Graph,
  shapes: Shapes,
  { output, layers, feedDims }: StatisticsGraphSpec,
): { readonly gradients: ReadonlyMap<string, string>; readonly probe: NonNullable<StatisticsGraph['probe']> } {
  const dims = shapes.dimsOf(output);
  graph.inputs.push({ name: PROBE, type: 'float32', shape: [...dims] });
  const emitter = new NodeEmitter(graph, 'probe');
  const product = emitter.emit('Mul', [output, PROBE]);
  const loss = emitter.emit('ReduceSum', [product], { keepdims: attribute.int(0) }, 'loss');
  const all = inferShapes(graph, { ...feedDims, [PROBE]: dims });
  const values = [...new Set(layers.map((layer) => layer.output))];
  const found = buildBackward(graph, all, { loss, wrt: values });
  const gradients = new Map(layers.map((layer) => [layer.name, found.get(layer.output) ?? '']));
  return { gradients, probe: { name: PROBE, dims } };
}

class Moments {
  readonly outputs: Outputs = new Map();
  private readonly emitter: NodeEmitter;

  constructor(
    private readonly graph: Graph,
    private readonly shapes: Shapes,
    private readonly spec: StatisticsGraphSpec,
  ) {
    this.emitter = new NodeEmitter(graph, 'statistics');
  }

  add(gradients: ReadonlyMap<string, string> | null): void {
    const { shapes, emitter, spec } = this;
    const { plan, parameters, timestep, layers } = spec;
    const context = { shapes, parameters, timestep, trainedLayers: new Set<string>(), trainRanges: false };
    const lowering = floatLowering(this.graph, context, emitter);
    const byName = new Map(layers.map((layer) => [layer.name, layer]));
    for (const quantizer of activationQuantizers(plan)) {
      const readers = quantizer.readers.flatMap(({ layer }) => byName.get(layer) ?? []);
      if (readers.length === 0) continue;
      const quantized = lowering.activation(quantizer, emitter.at(quantizer.id));
      const error = emitter.emit('Sub', [quantized, quantizer.value], {}, 'error');
      const dims = shapes.dimsOf(quantizer.value);
      this.addGram(`input/${quantizer.id}`, quantizer.value, dims, quantizer.channelAxis);
      for (const layer of readers) {
        const weighed = gradients === null ? error : this.addSensitivity(layer, error, gradients.get(layer.name) ?? '');
        this.addGram(`error/${layer.name}`, weighed, dims, quantizer.channelAxis);
      }
    }
  }

  /** Σ over all positions of z zᵀ, [C, C]; `count` rows, or what divides the sum otherwise. */
  private addGram(key: string, value: string, dims: readonly number[], channelAxis: number, count?: number): void {
    const { emitter } = this;
    const axis = (channelAxis + dims.length) % dims.length;
    const channels = dims[axis] ?? 1;
    const order = [axis, ...dims.map((_, at) => at).filter((at) => at !== axis)];
    const first = emitter.emit('Transpose', [value], { perm: attribute.ints(order) });
    const rows = emitter.emit('Reshape', [first, emitter.int64s([channels, -1])]);
    const columns = emitter.emit('Transpose', [rows], { perm: attribute.ints([1, 0]) });
    const gram = emitter.emit('MatMul', [rows, columns], {}, 'gram');
    this.outputs.set(key, { value: gram, count: count ?? elementCount(dims) / channels });
  }

  /** Adds G and f; returns the errors, weighed by |g| where positions of input and output are the same. */
  private addSensitivity(layer: PlannedLayer, error: string, gradient: string): string {
    const { emitter, graph } = this;
    const dims = this.shapes.dimsOf(layer.output);
    const rows = dims[0] ?? 1;
    const channelAxis = layer.opType === 'Conv' ? 1 : dims.length - 1;
    const node = graph.nodeByName(layer.node);
    const moved = emitter.emit(
      layer.opType,
      [error, node?.inputs[1] ?? ''],
      Object.fromEntries(node?.attributes ?? []),
    );
    const product = emitter.emit('Mul', [moved, gradient]);
    const axes = emitter.int64s(dims.map((_, axis) => axis).slice(1));
    const perRow = emitter.emit('ReduceSum', [product, axes], { keepdims: attribute.int(0) });
    const value = emitter.emit('ReduceSumSquare', [perRow], { keepdims: attribute.int(0) }, 'effect');
    this.outputs.set(`effect/${layer.name}`, { value, count: rows });
    const length = (of: string): string =>
      emitter.emit('ReduceL2', [of, emitter.int64s([channelAxis])], { keepdims: attribute.int(1) });
    const heard = emitter.emit('Mul', [gradient, length(moved)], {}, 'heard');
    this.addGram(`sensitivity/${layer.name}`, heard, dims, channelAxis, rows);
    const inputDims = this.shapes.dimsOf(layer.inputs[0]?.value ?? '');
    const isSame = dims.every((dim, axis) => axis === channelAxis || dim === inputDims[axis]);
    return isSame ? emitter.emit('Mul', [error, length(gradient)], {}, 'weighed') : error;
  }
}
