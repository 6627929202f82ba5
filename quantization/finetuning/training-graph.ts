import { appendAdam } from '../../models/autodiff/adam.js';
import { recomputeBlocks } from '../../models/autodiff/memory/recompute-blocks.js';
import { saveInEightBits } from '../../models/autodiff/memory/save-in-eight-bits.js';
import { foldConstants } from '../../models/onnx/fold-constants.js';
import { attribute, DATA_TYPE, type Graph, type Node } from '../../models/onnx/graph.js';
import { NodeEmitter } from '../../models/onnx/node-emitter.js';
import { removeDeadCode } from '../../models/onnx/remove-dead-code.js';
import { inferShapes } from '../../models/onnx/shape-inference.js';
import { type Float32Tensor, float32 } from '../../models/tensors/tensor.js';
import { activationQuantizers } from '../activation-quantizers.js';
import { insertQuantizers } from '../conversion/insert-quantizers.js';
import { type FloatContext, floatLowering, trainableName } from '../conversion/lower-to-float.js';
import type { PlannedLayer, QuantizationPlan } from '../layer-plan.js';
import type { DenoiserInputs } from '../layer-roles.js';
import type { QuantizedParameters } from '../quantized-parameters.js';
import { appendSurrogateGradients, type Surrogates } from './surrogate-gradients.js';
import { trustLowering } from './trust-estimator.js';
import { unitsFromWeight } from './weight-units.js';

/**
 * One graph per finetuning phase: quantized forward, loss, backward and Adam, for a fixed batch.
 *
 *   loss = w_layer · mean_l ( mean((O_l − Õ_l)²) / mean(O_l²) ) + w_output · mean((ε − ε̃)²) + w_guided · mean(r_t · (ε_g − ε̃_g)²)
 *
 * over the outputs O_l of the trained layers (QuEST, Wang et al., ICCV 2025, eq. 7–9), O_l and ε from the float model. Float
 * layer outputs come from a float copy of the graph inside the same run; without a layer loss ε is an input instead.
 * ε_g = u + g (c − u) is what the sampler sees: the batch then holds the negative branch in its first half and the prompt's
 * branch of the same x_t in its second, and r_t weighs a timestep by what an error there does to the final picture.
 */
export interface TrainingGraphSpec {
  /** The transformed float denoiser, as planned. */
  readonly graph: Graph;
  readonly plan: QuantizationPlan;
  readonly parameters: QuantizedParameters;
  readonly inputs: DenoiserInputs;
  /** Dims of one batch: sample [B, C, H, W], conditioning [B, S, D] when the model takes one. */
  readonly sampleDims: readonly number[];
  readonly conditioningDims: readonly number[] | null;
  readonly trainedLayers: ReadonlySet<string>;
  readonly layerLossWeight: number;
  readonly outputLossWeight: number;
  /** null when the model has one branch. */
  readonly guided: { readonly scale: number; readonly weight: number } | null;
  /** Factor of the trust estimator's radius; without one, gradients pass rounding everywhere. */
  readonly trustFactor?: number | null;
  /** What is given up for less memory; absent is nothing. */
  readonly memory?: TrainingMemory;
}

export interface TrainingMemory {
  readonly recompute: 'none' | 'blocks';
  readonly savedActivations: 'float32' | 'int8';
  readonly optimizerState: 'float32' | 'fp8';
}

export interface Trainable {
  /** Graph input; its Adam moments are inputs whose names start with `<name>.m` and `<name>.v`. */
  readonly name: string;
  readonly kind: 'weight' | 'scale';
  readonly initial: Float32Tensor;
}

export interface TrainingGraph {
  readonly graph: Graph;
  readonly trainables: readonly Trainable[];
  /** Scalar output. */
  readonly loss: string;
  /** Output with the updated value of each graph input that training changes (parameters and moments). */
  readonly updates: ReadonlyMap<string, string>;
}

export const TRAINING_INPUTS = {
  target: 'train/target',
  /** r_t of each pair of rows, [B / 2, 1, 1, 1]. */
  rowWeight: 'train/row-weight',
  weightRate: 'train/weight-rate',
  scaleRate: 'train/scale-rate',
  step: 'train/step',
} as const;

/** Prefix of the float copy's values. */
const TEACHER = 'float/';

/** The trainables of a phase, in units of the grids: weights, biases and scales of its layers, and every activation table. */
export function trainablesOf(
  plan: QuantizationPlan,
  parameters: QuantizedParameters,
  trainedLayers: ReadonlySet<string>,
): Trainable[] {
  const trainables: Trainable[] = [];
  for (const { name, weight } of plan.layers) {
    const held = parameters.weights.get(name);
    if (weight === null || held === undefined || !trainedLayers.has(name)) continue;
    const { codes, factor, shift } = unitsFromWeight(held, weight);
    trainables.push({ name: trainableName.weight(name), kind: 'weight', initial: codes });
    trainables.push({ name: trainableName.scales(name), kind: 'scale', initial: factor });
    if (shift !== null) trainables.push({ name: trainableName.bias(name), kind: 'weight', initial: shift });
  }
  for (const { id } of activationQuantizers(plan)) {
    const found = parameters.activations.get(id);
    if (found === undefined) continue;
    const factor = float32(found.scale.dims, new Float32Array(found.scale.data.length).fill(1));
    trainables.push({ name: trainableName.range(id), kind: 'scale', initial: factor });
  }
  return trainables;
}

/** The quantized denoiser in float arithmetic with trainables as inputs: what the training graph and validation share. */
function studentGraph(spec: TrainingGraphSpec): {
  graph: Graph;
  emitter: NodeEmitter;
  surrogates: Surrogates;
} {
  const graph = spec.graph.clone();
  const { inputs } = spec;
  const bound = boundInputs(spec);
  const shapes = inferShapes(graph, bound);
  foldConstants(graph, shapes);
  graph.inputs = graph.inputs.map((input) => ({ ...input, shape: bound[input.name] ?? input.shape }));
  const emitter = new NodeEmitter(graph, 'train');
  const context: FloatContext = {
    shapes,
    parameters: spec.parameters,
    timestep: inputs.timestep,
    trainedLayers: spec.trainedLayers,
    trainRanges: true,
  };
  const lower = (of: FloatContext) => floatLowering(graph, of, emitter);
  const { trustFactor = null } = spec;
  const { lowering, surrogates } =
    trustFactor === null
      ? { lowering: lower(context), surrogates: new Map<string, readonly string[]>() }
      : trustLowering(context, trustFactor, emitter, lower);
  insertQuantizers(graph, spec.plan, lowering, emitter);
  const straightThrough = [...lowering.straightThrough].map(([value, source]) => [value, [source]] as const);
  return { graph, emitter, surrogates: new Map([...straightThrough, ...surrogates]) };
}

function boundInputs({ inputs, sampleDims, conditioningDims }: TrainingGraphSpec): Record<string, readonly number[]> {
  const bound: Record<string, readonly number[]> = {
    [inputs.sample]: sampleDims,
    [inputs.timestep]: [sampleDims[0] ?? 1],
  };
  if (inputs.conditioning !== null && conditioningDims !== null) bound[inputs.conditioning] = conditioningDims;
  return bound;
}

export function buildTrainingGraph(spec: TrainingGraphSpec): TrainingGraph {
  const { graph, loss, trainables, gradients } = buildGradientGraph(spec);
  return { graph, trainables, loss, updates: appendUpdates(graph, gradients, spec.memory) };
}

/** Forward, loss and backward, without Adam. */
export interface GradientGraph {
  readonly graph: Graph;
  readonly trainables: readonly Trainable[];
  readonly loss: string;
  /** Trainables with the values that are their gradients, in the order in which the forward nodes read them. */
  readonly gradients: readonly TrainableGradient[];
}

export interface TrainableGradient {
  readonly trainable: Trainable;
  readonly gradient: string;
}

/** `energyOf` names the value that a layer's squared error is divided by; default: its energy in this batch. */
export function buildGradientGraph(
  spec: TrainingGraphSpec,
  energyOf?: (layer: string, graph: Graph) => string,
): GradientGraph {
  const student = studentGraph(spec);
  const { graph, emitter } = student;
  const output = graph.outputs[0]?.name ?? '';
  const trained = spec.plan.layers.filter((layer) => spec.trainedLayers.has(layer.name));
  const target = addTarget(graph, spec, trained);
  const losses = [scaled(emitter, meanSquare(emitter.at('loss'), output, target), spec.outputLossWeight)];
  if (spec.guided !== null && spec.guided.weight > 0) {
    losses.push(
      scaled(emitter, guidedSquare(graph, emitter, spec, spec.guided.scale, output, target), spec.guided.weight),
    );
  }
  if (spec.layerLossWeight > 0) {
    const share = spec.layerLossWeight / Math.max(1, trained.length);
    for (const layer of trained) {
      const teacher = `${TEACHER}${layer.output}`;
      emitter.at('loss');
      const energy = energyOf?.(layer.name, graph) ?? meanOfSquares(emitter, teacher);
      const error = relativeSquare(emitter, layer.output, teacher, energy);
      losses.push(scaled(emitter, error, share));
    }
  }
  const loss = emitter.at('loss').emit('Sum', losses, {}, 'total');
  removeAllBut(graph, loss, student.surrogates);
  const trainables = trainablesOf(spec.plan, spec.parameters, spec.trainedLayers);
  const gradients = appendGradients(graph, loss, trainables, student.surrogates, spec.memory);
  return { graph, trainables, loss, gradients };
}

/** The float model with the energy mean(O_l²) of each trained layer's output in a batch: by layer, the output that tells it. */
export function buildEnergyGraph(spec: TrainingGraphSpec): { graph: Graph; energies: ReadonlyMap<string, string> } {
  const graph = spec.graph.clone();
  const bound = boundInputs(spec);
  foldConstants(graph, inferShapes(graph, bound));
  graph.inputs = graph.inputs.map((input) => ({ ...input, shape: bound[input.name] ?? input.shape }));
  const emitter = new NodeEmitter(graph, 'energy').at('energy');
  const trained = spec.plan.layers.filter((layer) => spec.trainedLayers.has(layer.name));
  const energies = new Map(trained.map(({ name, output }) => [name, meanOfSquares(emitter, output)]));
  graph.outputs = [...energies.values()].map((name) => ({ name, type: 'float32' as const, shape: [] }));
  removeDeadCode(graph);
  return { graph, energies };
}

/** Leaves the loss as the only output, and nothing that neither it nor a derivative reads. */
function removeAllBut(graph: Graph, loss: string, surrogates: Surrogates): void {
  const kept = [loss, ...new Set([...surrogates.values()].flat())];
  graph.outputs = kept.map((name) => ({ name, type: 'float32' as const, shape: [] }));
  removeDeadCode(graph);
  graph.outputs = graph.outputs.slice(0, 1);
}

/** The value the output is compared with: an input, or the output of a float copy when layers are compared as well. */
function addTarget(graph: Graph, spec: TrainingGraphSpec, trained: readonly PlannedLayer[]): string {
  const output = graph.outputs[0]?.name ?? '';
  if (spec.layerLossWeight === 0 || trained.length === 0) {
    graph.inputs.push({ name: TRAINING_INPUTS.target, type: 'float32', shape: [...spec.sampleDims] });
    return TRAINING_INPUTS.target;
  }
  const teacher = spec.graph.clone();
  foldConstants(teacher, inferShapes(teacher, boundInputs(spec)));
  const produced = new Set(teacher.nodes.flatMap((node) => node.outputs));
  const renamed = (value: string): string =>
    produced.has(value) || teacher.initializers.has(value) ? `${TEACHER}${value}` : value;
  for (const [name, initializer] of teacher.initializers) {
    graph.addInitializer({ ...initializer, name: `${TEACHER}${name}` });
  }
  const copies = teacher.nodes.map((node) => ({
    ...node,
    name: `${TEACHER}${node.name}`,
    inputs: node.inputs.map((input) => (input === '' ? '' : renamed(input))),
    outputs: node.outputs.map((name) => (name === '' ? '' : `${TEACHER}${name}`)),
  }));
  graph.insertNodes(copies);
  return `${TEACHER}${output}`;
}

function meanSquare(emitter: NodeEmitter, value: string, target: string): string {
  const difference = emitter.emit('Sub', [value, target]);
  return emitter.emit('ReduceMean', [emitter.emit('Mul', [difference, difference])], { keepdims: attribute.int(0) });
}

/** mean(r_t · ((1 − g) Δu + g Δc)²) with Δu, Δc the first and second half of output − target. */
function guidedSquare(
  graph: Graph,
  emitter: NodeEmitter,
  { sampleDims }: TrainingGraphSpec,
  guidance: number,
  output: string,
  target: string,
): string {
  const rows = sampleDims[0] ?? 0;
  const half = rows / 2;
  graph.inputs.push({
    name: TRAINING_INPUTS.rowWeight,
    type: 'float32',
    shape: [half, ...sampleDims.slice(1).map(() => 1)],
  });
  const difference = emitter.emit('Sub', [output, target]);
  const part = (from: number, to: number, factor: number): string =>
    scaled(emitter, emitter.emit('Slice', [difference, emitter.int64s([from]), emitter.int64s([to])]), factor);
  const guided = emitter.emit('Add', [part(0, half, 1 - guidance), part(half, rows, guidance)]);
  const square = emitter.emit('Mul', [emitter.emit('Mul', [guided, guided]), TRAINING_INPUTS.rowWeight]);
  return emitter.emit('ReduceMean', [square], { keepdims: attribute.int(0) });
}

/** A layer with less energy than this in a batch has no relative error: it would be divided by nothing. */
const LEAST_ENERGY = 1e-20;

function meanOfSquares(emitter: NodeEmitter, value: string): string {
  const square = emitter.emit('Mul', [value, value]);
  return emitter.emit('ReduceMean', [square], { keepdims: attribute.int(0) });
}

/** mean((O − Õ)²) / mean(O²): layers of every magnitude count alike; 0 where O is all zero. */
function relativeSquare(emitter: NodeEmitter, value: string, target: string, energy: string): string {
  const least = emitter.scalar(LEAST_ENERGY);
  const counts = emitter.emit('Cast', [emitter.emit('LessOrEqual', [least, energy])], {
    to: attribute.int(DATA_TYPE.float32),
  });
  const ratio = emitter.emit('Div', [meanSquare(emitter, value, target), emitter.emit('Max', [energy, least])]);
  return emitter.emit('Mul', [ratio, counts]);
}

function scaled(emitter: NodeEmitter, value: string, weight: number): string {
  return emitter.emit('Mul', [value, emitter.scalar(weight)]);
}

function appendGradients(
  graph: Graph,
  loss: string,
  trainables: readonly Trainable[],
  surrogates: Surrogates,
  memory: TrainingMemory | undefined,
): TrainableGradient[] {
  const dims: Record<string, readonly number[]> = {};
  for (const input of graph.inputs) dims[input.name] = (input.shape ?? []).map(Number);
  const shapes = inferShapes(graph, dims);
  const wrt = trainables.map(({ name }) => name);
  const forwardCount = graph.nodes.length;
  const gradients = appendSurrogateGradients(graph, shapes, { loss, wrt, surrogates });
  const forward = graph.nodes.slice(0, forwardCount);
  if (memory?.recompute === 'blocks') recomputeBlocks(graph, shapes, forwardCount);
  if (memory?.savedActivations === 'int8') saveInEightBits(graph, shapes, forward, wrt);
  const ordered = inReadingOrder(trainables, forward);
  return ordered.map((trainable) => ({ trainable, gradient: gradients.get(trainable.name) ?? '' }));
}

/** Appends Adam; returns the output with the updated value of each input that training changes. */
export function appendUpdates(
  graph: Graph,
  gradients: readonly TrainableGradient[],
  memory: TrainingMemory | undefined,
): Map<string, string> {
  const adam = appendAdam(
    graph,
    gradients.map(({ trainable: { name, kind, initial }, gradient }) => ({
      name,
      gradient,
      dims: initial.dims,
      learningRate: kind === 'weight' ? TRAINING_INPUTS.weightRate : TRAINING_INPUTS.scaleRate,
    })),
    { step: TRAINING_INPUTS.step, state: memory?.optimizerState ?? 'float32' },
  );
  const updates = new Map<string, string>();
  for (const [name, state] of adam.parameters) {
    updates.set(name, state.next);
    for (const [input, output] of state.state) updates.set(input, output);
  }
  return updates;
}

/**
 * Trainables by the first forward node that reads them. onnxruntime starts from the last output nobody reads: the update of the
 * last layer, which then takes place as soon as its gradient is there, instead of holding its activations to the end.
 */
function inReadingOrder(trainables: readonly Trainable[], forward: readonly Node[]): Trainable[] {
  const first = new Map<string, number>();
  forward.forEach((node, at) => {
    for (const input of node.inputs) if (!first.has(input)) first.set(input, at);
  });
  return trainables.toSorted((a, b) => (first.get(a.name) ?? 0) - (first.get(b.name) ?? 0));
}

/** A forward-only graph whose scalar outputs are Σ(ε − ε̃)² and Σε² of a batch, for validation. */
export function buildValidationGraph(spec: TrainingGraphSpec): { graph: Graph; error: string; energy: string } {
  const { graph, emitter } = studentGraph(spec);
  const output = graph.outputs[0]?.name ?? '';
  graph.inputs.push({ name: TRAINING_INPUTS.target, type: 'float32', shape: [...spec.sampleDims] });
  emitter.at('validation');
  const difference = emitter.emit('Sub', [output, TRAINING_INPUTS.target]);
  const sumOfSquares = (value: string, label: string): string =>
    emitter.emit('ReduceSumSquare', [value], { keepdims: attribute.int(0) }, label);
  const error = sumOfSquares(difference, 'error');
  const energy = sumOfSquares(TRAINING_INPUTS.target, 'energy');
  graph.outputs = [error, energy].map((name) => ({ name, type: 'float32' as const, shape: [] }));
  removeDeadCode(graph);
  return { graph, error, energy };
}
