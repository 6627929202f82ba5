import { appendAdam } from '../../../models/autodiff/adam.js';
import { attribute, DATA_TYPE, type Graph, node } from '../../../models/onnx/graph.js';
import { removeDeadCode } from '../../../models/onnx/remove-dead-code.js';
import { inferShapes } from '../../../models/onnx/shape-inference.js';
import { sortTopologically } from '../../../models/onnx/sort-topologically.js';
import { type Float32Tensor, float32 } from '../../../models/tensors/tensor.js';
import { trainableName } from '../../conversion/lower-to-float.js';
import { appendSurrogateGradients } from '../../finetuning/surrogate-gradients.js';
import type { PlannedLayer } from '../../layer-plan.js';
import { emitPenalty, roundingStart } from './adaround.js';
import type { RandomMasks } from './random-masks.js';
import {
  alphaName,
  type BlockContext,
  floatBlock,
  ownTables,
  type StudentBlock,
  type StudentOptions,
  studentBlock,
} from './student-block.js';

/**
 * One graph per block: forward, loss, backward and Adam, for a fixed batch.
 *
 *   loss = Σ_c mean |O − Õ|^p + γ · Σ_l Σ_c mean (O_l − Õ_l)² + λ · Σ 1 − |2h − 1|^β
 *
 * O: the block's float outputs (inputs of the graph). O_l: outputs of its inner layers, all but the last (EDA-DM, Liu et al.,
 * fine-grained block reconstruction), from a float copy inside the graph. Σ_c mean: summed over channels, averaged over the
 * rest. p = 2; 2.4 where only activation scales are trained (Q-Diffusion, Li et al., ICCV 2023).
 */
export interface BlockTraining extends Omit<StudentOptions, 'activationDrop'> {
  /** Element type of cached values. */
  readonly storage: 'float16' | 'float32';
  /** Where inputs come from: the float network, the quantized one, or both, `mix` being the share of float elements. */
  readonly inputMix: number;
  readonly readsQuantized: boolean;
  readonly activationDrop: number;
  /** γ; 0 leaves the float copy out. */
  readonly innerLossWeight: number;
  /** Whether there is a penalty at all; its weight and β are fed. */
  readonly hasPenalty: boolean;
  readonly power: number;
}

export const BLOCK_INPUTS = {
  roundingRate: 'train/rounding-rate',
  scaleRate: 'train/scale-rate',
  step: 'train/step',
  beta: 'train/beta',
  penaltyWeight: 'train/penalty-weight',
  float: (value: string): string => `float/${value}`,
  quantized: (value: string): string => `quantized/${value}`,
  target: (value: string): string => `target/${value}`,
} as const;

export interface BlockTrainingGraph {
  readonly graph: Graph;
  /** Initial values by graph input. */
  readonly trainables: ReadonlyMap<string, Float32Tensor>;
  /** Scalar output: the loss without the penalty. */
  readonly error: string;
  readonly updates: ReadonlyMap<string, string>;
  readonly masks: RandomMasks;
}

export function buildBlockTraining(context: BlockContext, training: BlockTraining): BlockTrainingGraph {
  const student = studentBlock(context, training);
  const { graph, emitter, masks } = student;
  addInputs(context, training, student);
  emitter.at('loss');
  const losses = context.block.outputs.map((output) =>
    channelLoss(student, output, stored(student, training, BLOCK_INPUTS.target(output), output), training.power),
  );
  const inner = training.innerLossWeight > 0 ? innerLayers(context) : [];
  if (inner.length > 0) addTeacher(context, training, student, inner);
  for (const { output } of inner) {
    const loss = channelLoss(student, output, `${TEACHER}${output}`, 2);
    losses.push(emitter.emit('Mul', [loss, emitter.scalar(training.innerLossWeight)]));
  }
  const error = emitter.emit('Sum', losses, {}, 'error');
  const loss = training.hasPenalty ? withPenalty(student, error) : error;
  masks.declareInputs();
  graph.outputs = [...new Set([loss, error])].map((name) => ({ name, type: 'float32' as const, shape: [] }));
  sortTopologically(graph);
  removeDeadCode(graph);
  const trainables = trainablesOf(context, training);
  return { graph, trainables, error, updates: appendUpdates(student, loss, trainables), masks };
}

/** The denoised pieces that a block's training changes: a of every weight, a factor for every entry of its own tables. */
function trainablesOf(context: BlockContext, { parameters, ...training }: BlockTraining): Map<string, Float32Tensor> {
  const members = new Set(context.block.layers);
  const found = new Map<string, Float32Tensor>();
  for (const { name, weight } of context.plan.layers) {
    const held = parameters.weights.get(name);
    if (!training.learnsRounding || weight === null || held === undefined || !members.has(name)) continue;
    found.set(alphaName(name), roundingStart(held, weight).alpha);
  }
  if (!training.quantizesActivations) return found;
  for (const { id } of ownTables(context.plan, parameters, context.block)) {
    const held = parameters.activations.get(id);
    if (held === undefined || !training.trainedRanges.has(id)) continue;
    found.set(trainableName.range(id), float32(held.scale.dims, new Float32Array(held.scale.data.length).fill(1)));
  }
  return found;
}

/** Inner layers of a block: all quantized layers with a weight but the last. */
function innerLayers({ plan, block }: BlockContext): PlannedLayer[] {
  const members = new Set(block.layers);
  const weighted = plan.layers.filter(
    ({ name, weight, skipped }) => members.has(name) && weight !== null && skipped === null,
  );
  return weighted.slice(0, -1);
}

/** Gives every input of the block a producer that reads what was cached. */
function addInputs({ block }: BlockContext, training: BlockTraining, student: StudentBlock): void {
  const { graph, emitter, masks, shapes } = student;
  for (const value of block.inputs) {
    emitter.at('input');
    const float = (): string => stored(student, training, BLOCK_INPUTS.float(value), value);
    const quantized = (): string => stored(student, training, BLOCK_INPUTS.quantized(value), value);
    const entering = (): string => {
      if (!training.readsQuantized) return float();
      if (training.inputMix === 0) return quantized();
      const [exact, rough] = [float(), quantized()];
      const keep = masks.keep(shapes.dimsOf(value), training.inputMix);
      return emitter.emit('Add', [exact, emitter.emit('Mul', [keep, emitter.emit('Sub', [rough, exact])])]);
    };
    graph.nodes.push(node('Identity', [entering()], [value], { name: `enter/${value}` }));
  }
  graph.invalidate();
}

/** A cached value, declared as a graph input of its storage type, as float32. */
function stored(
  { graph, emitter, shapes }: Pick<StudentBlock, 'graph' | 'emitter' | 'shapes'>,
  { storage }: Pick<BlockTraining, 'storage'>,
  name: string,
  value: string,
): string {
  if (!graph.inputs.some((input) => input.name === name)) {
    graph.inputs.push({ name, type: storage, shape: [...shapes.dimsOf(value)] });
  }
  return emitter.emit('Cast', [name], { to: attribute.int(DATA_TYPE.float32) });
}

/** Prefix of the float copy's values. */
const TEACHER = 'teacher/';

function addTeacher(
  context: BlockContext,
  training: BlockTraining,
  student: StudentBlock,
  inner: readonly PlannedLayer[],
): void {
  const { graph: teacher } = floatBlock(
    context,
    inner.map(({ output }) => output),
  );
  const { graph, emitter } = student;
  for (const [name, initializer] of teacher.initializers) {
    graph.addInitializer({ ...initializer, name: `${TEACHER}${name}` });
  }
  const own = new Set([...teacher.nodes.flatMap(({ outputs }) => outputs), ...teacher.initializers.keys()]);
  const entering = new Set(context.block.inputs);
  const renamed = (value: string): string => (own.has(value) || entering.has(value) ? `${TEACHER}${value}` : value);
  const copies = teacher.nodes.map((each) => ({
    ...each,
    name: `${TEACHER}${each.name}`,
    inputs: each.inputs.map((input) => (input === '' ? '' : renamed(input))),
    outputs: each.outputs.map((output) => (output === '' ? '' : `${TEACHER}${output}`)),
  }));
  graph.insertNodes(copies);
  for (const value of context.block.inputs) {
    const float = stored(student, training, BLOCK_INPUTS.float(value), value);
    graph.nodes.push(node('Identity', [float], [`${TEACHER}${value}`], { name: `${TEACHER}enter/${value}` }));
  }
  emitter.at('loss');
  graph.invalidate();
}

/** Σ over channels of the mean over the rest of |O − Õ|^p. */
function channelLoss({ emitter, shapes }: StudentBlock, value: string, target: string, power: number): string {
  const dims = shapes.dimsOf(value);
  const channels = dims[dims.length === 3 ? 2 : 1] ?? 1;
  const difference = emitter.emit('Sub', [value, target]);
  const raised =
    power === 2
      ? emitter.emit('Mul', [difference, difference])
      : emitter.emit('Pow', [emitter.emit('Abs', [difference]), emitter.scalar(power)]);
  const mean = emitter.emit('ReduceMean', [raised], { keepdims: attribute.int(0) });
  return emitter.emit('Mul', [mean, emitter.scalar(channels)]);
}

function withPenalty({ graph, emitter, openings }: StudentBlock, error: string): string {
  for (const name of [BLOCK_INPUTS.beta, BLOCK_INPUTS.penaltyWeight]) {
    graph.inputs.push({ name, type: 'float32', shape: [] });
  }
  const penalties = [...openings.values()].map((h) => emitPenalty(h, BLOCK_INPUTS.beta, emitter.at('penalty')));
  const total = emitter.emit('Sum', penalties);
  return emitter.emit('Add', [error, emitter.emit('Mul', [total, BLOCK_INPUTS.penaltyWeight])], {}, 'loss');
}

function appendUpdates(
  { graph, straightThrough }: StudentBlock,
  loss: string,
  trainables: ReadonlyMap<string, Float32Tensor>,
): Map<string, string> {
  const read = new Set(graph.nodes.flatMap(({ inputs }) => inputs));
  graph.inputs = graph.inputs.filter(({ name }) => read.has(name));
  const surrogates = new Map([...straightThrough].map(([value, source]) => [value, [source]] as const));
  const wrt = [...trainables.keys()];
  const gradients = appendSurrogateGradients(graph, inferShapes(graph), { loss, wrt, surrogates });
  const parameters = [...trainables].map(([name, { dims }]) => ({
    name,
    gradient: gradients.get(name) ?? '',
    dims,
    learningRate: name.endsWith('/alpha') ? BLOCK_INPUTS.roundingRate : BLOCK_INPUTS.scaleRate,
  }));
  const adam = appendAdam(graph, parameters, { step: BLOCK_INPUTS.step });
  const updates = new Map<string, string>();
  for (const [name, state] of adam.parameters) {
    updates.set(name, state.next).set(state.m, state.mNext).set(state.v, state.vNext);
  }
  return updates;
}

/** A forward-only graph whose scalar outputs are Σ(O − Õ)² and ΣO² over the block's outputs, for one batch. */
export function buildBlockMeasure(
  context: BlockContext,
  training: Pick<BlockTraining, 'parameters' | 'storage' | 'readsQuantized'>,
): { graph: Graph; error: string; energy: string } {
  const fixed = {
    quantizesActivations: true,
    learnsRounding: false,
    trainedRanges: new Set<string>(),
    activationDrop: 0,
  };
  const student = studentBlock(context, { ...training, ...fixed });
  const { graph, emitter } = student;
  const plain = { ...training, ...fixed, inputMix: 0, innerLossWeight: 0, hasPenalty: false, power: 2 };
  addInputs(context, plain, student);
  emitter.at('measure');
  const sums = (values: readonly string[], label: string): string => {
    const parts = values.map((value) => emitter.emit('ReduceSumSquare', [value], { keepdims: attribute.int(0) }));
    return emitter.emit('Sum', parts, {}, label);
  };
  const targets = context.block.outputs.map((output) => stored(student, training, BLOCK_INPUTS.target(output), output));
  const differences = context.block.outputs.map((output, index) => emitter.emit('Sub', [output, targets[index] ?? '']));
  const [error, energy] = [sums(differences, 'error'), sums(targets, 'energy')];
  graph.outputs = [error, energy].map((name) => ({ name, type: 'float32' as const, shape: [] }));
  sortTopologically(graph);
  removeDeadCode(graph);
  const read = new Set(graph.nodes.flatMap(({ inputs }) => inputs));
  graph.inputs = graph.inputs.filter(({ name }) => read.has(name));
  return { graph, error, energy };
}
