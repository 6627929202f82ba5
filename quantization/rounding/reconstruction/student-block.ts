import { detachProducers, foldConstants } from '../../../models/onnx/fold-constants.js';
import type { Graph, ValueInfo } from '../../../models/onnx/graph.js';
import { NodeEmitter } from '../../../models/onnx/node-emitter.js';
import { removeDeadCode } from '../../../models/onnx/remove-dead-code.js';
import { inferShapes, type Shapes } from '../../../models/onnx/shape-inference.js';
import { type ActivationQuantizer, activationQuantizers } from '../../activation-quantizers.js';
import { insertQuantizers, type Lowering } from '../../conversion/insert-quantizers.js';
import { type FloatLowering, floatLowering } from '../../conversion/lower-to-float.js';
import type { QuantizationPlan } from '../../layer-plan.js';
import type { DenoiserInputs } from '../../layer-roles.js';
import type { QuantizedParameters } from '../../quantized-parameters.js';
import { emitRectifiedSigmoid, emitSoftWeight, roundingStart } from './adaround.js';
import type { Block } from './cut-blocks.js';
import { RandomMasks } from './random-masks.js';

/** A denoiser and the block of it that is looked at. */
export interface BlockContext {
  /** The transformed float denoiser, as planned. */
  readonly graph: Graph;
  readonly plan: QuantizationPlan;
  readonly inputs: DenoiserInputs;
  readonly block: Block;
  /** Dims of the denoiser's inputs for one batch. */
  readonly bound: Readonly<Record<string, readonly number[]>>;
}

/** A block in float: its inputs and the timestep are graph inputs. */
export interface FloatBlock {
  readonly graph: Graph;
  readonly shapes: Shapes;
}

export interface StudentOptions {
  readonly parameters: QuantizedParameters;
  /** Otherwise activations stay float. */
  readonly quantizesActivations: boolean;
  /** Whether weights round as AdaRound learns it; otherwise to the nearest code. */
  readonly learnsRounding: boolean;
  /** Ids of the quantizers whose table becomes a graph input (see `trainableName.range`). */
  readonly trainedRanges: ReadonlySet<string>;
  /** Probability that an element of an activation is left float. */
  readonly activationDrop: number;
}

/** A block in quantized float arithmetic. Its inputs have no producer yet: whoever uses it adds one. */
export interface StudentBlock extends FloatBlock {
  readonly emitter: NodeEmitter;
  /** Values that derivatives take for another, see finetuning/surrogate-gradients.ts. */
  readonly straightThrough: ReadonlyMap<string, string>;
  /** h of every layer whose rounding is learned. */
  readonly openings: ReadonlyMap<string, string>;
  readonly masks: RandomMasks;
}

/** Graph input with the a of a layer's rounding, dims of the weight. */
export function alphaName(layer: string): string {
  return `train/${layer}/alpha`;
}

/** The quantizers that only this block reads and that have a table: those that it may train. */
export function ownTables(
  plan: QuantizationPlan,
  parameters: QuantizedParameters,
  block: Block,
): ActivationQuantizer[] {
  const members = new Set(block.layers);
  return activationQuantizers(plan).filter(
    ({ id, readers }) => parameters.activations.has(id) && readers.every(({ layer }) => members.has(layer)),
  );
}

/** The block alone, with `outputs` (default: its own) as outputs. */
export function floatBlock(context: BlockContext, outputs: readonly string[] = context.block.outputs): FloatBlock {
  const folded = foldedGraph(context);
  extract(folded, context, outputs);
  return folded;
}

export function studentBlock(context: BlockContext, options: StudentOptions): StudentBlock {
  const { graph, shapes } = foldedGraph(context);
  const emitter = new NodeEmitter(graph, 'train');
  const masks = new RandomMasks(emitter);
  const openings = new Map<string, string>();
  const { parameters } = options;
  const common = { shapes, parameters, timestep: context.inputs.timestep, trainedLayers: new Set<string>() };
  const fixed = floatLowering(graph, { ...common, trainRanges: false }, emitter);
  const trained = floatLowering(graph, { ...common, trainRanges: true }, emitter);
  const parts = { fixed, trained, masks, openings };
  insertQuantizers(graph, context.plan, blockLowering(context, options, graph, shapes, parts), emitter);
  extract({ graph, shapes }, context, context.block.outputs);
  const straightThrough = new Map([...fixed.straightThrough, ...trained.straightThrough]);
  return { graph, shapes, emitter, straightThrough, openings, masks };
}

function blockLowering(
  { block }: BlockContext,
  options: StudentOptions,
  graph: Graph,
  shapes: Shapes,
  parts: {
    readonly fixed: FloatLowering;
    readonly trained: FloatLowering;
    readonly masks: RandomMasks;
    readonly openings: Map<string, string>;
  },
): Lowering {
  const members = new Set(block.layers);
  const { parameters } = options;
  const branches = parts.fixed.branches;
  return {
    activation(quantizer, emitter) {
      const isRead = quantizer.readers.some(({ layer }) => members.has(layer));
      if (!isRead || !options.quantizesActivations) return quantizer.value;
      const lowering = options.trainedRanges.has(quantizer.id) ? parts.trained : parts.fixed;
      const quantized = lowering.activation(quantizer, emitter);
      if (options.activationDrop === 0) return quantized;
      emitter.at(quantizer.id);
      const keep = parts.masks.keep(shapes.dimsOf(quantizer.value), options.activationDrop);
      const error = emitter.emit('Mul', [keep, emitter.emit('Sub', [quantized, quantizer.value])]);
      return emitter.emit('Add', [quantizer.value, error], {}, 'dropped');
    },
    weight(layer, weight, emitter) {
      if (!members.has(layer.name)) return weight.initializer;
      const nearest = parts.fixed.weight(layer, weight, emitter);
      const held = parameters.weights.get(layer.name);
      if (!options.learnsRounding || held === undefined) return nearest;
      const alpha = alphaName(layer.name);
      graph.inputs.push({ name: alpha, type: 'float32', shape: [...weight.dims] });
      const h = emitRectifiedSigmoid(alpha, emitter.at(layer.name));
      parts.openings.set(layer.name, h);
      return emitSoftWeight(h, roundingStart(held, weight), weight.scheme.bits, emitter);
    },
    ...(branches === undefined
      ? {}
      : {
          branches: { ...branches, byLayer: new Map([...branches.byLayer].filter(([layer]) => members.has(layer))) },
        }),
  };
}

function foldedGraph({ graph: whole, bound }: BlockContext): { graph: Graph; shapes: Shapes } {
  const graph = whole.clone();
  const shapes = inferShapes(graph, bound);
  foldConstants(graph, shapes);
  graph.inputs = graph.inputs.map((input) => ({ ...input, shape: bound[input.name] ?? input.shape }));
  return { graph, shapes };
}

/** Takes away everything but the block; what entered it from elsewhere is read without being computed. */
function extract({ graph, shapes }: FloatBlock, { block }: BlockContext, outputs: readonly string[]): void {
  const entering = new Set(block.inputs);
  const info = (name: string): ValueInfo => ({ name, type: 'float32', shape: [...shapes.dimsOf(name)] });
  graph.inputs = graph.inputs.filter(({ name }) => !entering.has(name));
  detachProducers(graph, entering);
  graph.outputs = outputs.map(info);
  removeDeadCode(graph);
}
