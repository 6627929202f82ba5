import { NibbleflowError } from '../../../contracts/errors.js';
import type { Executor, Runnable } from '../../../models/executor.js';
import { attribute, DATA_TYPE, type Graph } from '../../../models/onnx/graph.js';
import { writeModel } from '../../../models/onnx/model-proto.js';
import { NodeEmitter } from '../../../models/onnx/node-emitter.js';
import { removeDeadCode } from '../../../models/onnx/remove-dead-code.js';
import { inferShapes } from '../../../models/onnx/shape-inference.js';
import { denoiserFeeds } from '../../../models/pipelines/denoiser-feeds.js';
import type { Denoiser } from '../../../models/pipelines/pipeline.js';
import { permutation } from '../../../models/tensors/random.js';
import { elementCount, type Tensor, tensor, zeros } from '../../../models/tensors/tensor.js';
import {
  batchOf,
  branchCount,
  type CalibrationItem,
  type CalibrationSet,
  trajectoryCount,
} from '../../calibration/calibration-set.js';
import { insertQuantizers } from '../../conversion/insert-quantizers.js';
import { floatLowering } from '../../conversion/lower-to-float.js';
import { fixedItems } from '../../finetuning/finetuning-data.js';
import type { QuantizationPlan } from '../../layer-plan.js';
import type { DenoiserInputs } from '../../layer-roles.js';
import type { QuantizedParameters } from '../../quantized-parameters.js';
import { BLOCK_INPUTS } from './block-training-graph.js';
import type { Block } from './cut-blocks.js';

/** What a block sees and should say, for some calls of the denoiser: the training data of its reconstruction. */
export interface BlockData {
  /** How values are stored. */
  readonly storage: 'float16' | 'float32';
  /** Timestep of every item. */
  readonly timesteps: readonly number[];
  /** Values of some items, joined along axis 0; names as BLOCK_INPUTS gives them. */
  rows(name: string, items: readonly number[]): Promise<Tensor>;
}

export interface CaptureOptions {
  readonly executor: Executor;
  readonly graph: Graph;
  readonly plan: QuantizationPlan;
  readonly parameters: QuantizedParameters;
  readonly inputs: DenoiserInputs;
  readonly denoiser: Denoiser;
  readonly calibration: CalibrationSet;
  readonly items: readonly CalibrationItem[];
  readonly blocks: readonly Block[];
  /** Whether inputs of the quantized network are wanted, and whether its activations are quantized. */
  readonly quantized: { readonly activations: boolean } | null;
  /** Calls of the denoiser in one run. */
  readonly batch: number;
  readonly onBatch?: (done: number, total: number) => Promise<void>;
}

/** Tensors [items, rows of an item, …] by the names of BLOCK_INPUTS, one map per block. */
export interface Captured {
  readonly storage: BlockData['storage'];
  readonly blocks: readonly ReadonlyMap<string, Tensor>[];
}

/** Above this, float16 has only infinity left. */
const LARGEST_HALF = 65504;

/**
 * Runs the float and the quantized denoiser and keeps what enters and leaves some blocks. Values are kept as float16, which
 * errs 500 times less than a 4-bit code, unless one of them is too large for it: then all as float32.
 */
export async function captureBlocks(options: CaptureOptions): Promise<Captured> {
  const inputs = options.blocks.flatMap((block) => block.inputs);
  const outputs = options.blocks.flatMap((block) => block.outputs);
  for (const storage of ['float16', 'float32'] as const) {
    const float = await capture(options, null, [...inputs, ...outputs], storage);
    if (float === undefined) continue;
    const rough =
      options.quantized === null
        ? new Map<string, Tensor>()
        : await capture(options, options.quantized, inputs, storage);
    if (rough === undefined) continue;
    const blocks = options.blocks.map((block) => tensorsOf(block, float, rough));
    return { storage, blocks };
  }
  throw new Error('float32 values are kept as they are');
}

function tensorsOf(
  block: Block,
  float: ReadonlyMap<string, Tensor>,
  quantized: ReadonlyMap<string, Tensor>,
): Map<string, Tensor> {
  const found = new Map<string, Tensor>();
  const keep = (name: string, value: Tensor | undefined): void => {
    if (value !== undefined) found.set(name, value);
  };
  for (const value of block.inputs) {
    keep(BLOCK_INPUTS.float(value), float.get(value));
    keep(BLOCK_INPUTS.quantized(value), quantized.get(value));
  }
  for (const value of block.outputs) keep(BLOCK_INPUTS.target(value), float.get(value));
  return found;
}

/** Values of every item; undefined when one of them does not fit the storage type. */
async function capture(
  options: CaptureOptions,
  quantized: CaptureOptions['quantized'],
  wanted: readonly string[],
  storage: BlockData['storage'],
): Promise<Map<string, Tensor> | undefined> {
  const values = [...new Set(wanted)];
  const runnable = await options.executor.open(writeModel(captureGraph(options, quantized, values, storage)));
  try {
    return await runAll(options, runnable, values, storage);
  } finally {
    await runnable.release();
  }
}

async function runAll(
  { calibration, items, batch, denoiser, onBatch }: CaptureOptions,
  runnable: Runnable,
  values: readonly string[],
  storage: BlockData['storage'],
): Promise<Map<string, Tensor> | undefined> {
  const found = new Map<string, Tensor>();
  for (let at = 0; at < items.length; at += batch) {
    const part = batchOf(calibration, items.slice(at, at + batch));
    const feeds = denoiserFeeds(denoiser, { ...part, timestep: part.timesteps, classLabels: null });
    const outputs = await runnable.run(feeds);
    for (const value of values) {
      const largest = Number(outputs[largestName(value)]?.data[0]);
      if (storage === 'float16' && !(largest <= LARGEST_HALF)) return undefined;
      store(found, value, outputs[keptName(value)], { at, count: part.timesteps.length, total: items.length });
    }
    await onBatch?.(Math.min(items.length, at + batch), items.length);
  }
  return found;
}

function store(
  found: Map<string, Tensor>,
  value: string,
  computed: Tensor | undefined,
  { at, count, total }: { readonly at: number; readonly count: number; readonly total: number },
): void {
  const [rows = 0, ...rest] = computed?.dims ?? [];
  if (computed === undefined || rows % count !== 0 || rows === 0) {
    throw new NibbleflowError('InvalidModel', 'blocks cannot be reconstructed on their own here', {
      where: `${value} has ${rows} rows for ${count} samples`,
      fix: 'Round without reconstruction: --set reconstruction.enabled=false.',
    });
  }
  const known = found.get(value) ?? zeros(computed.type, [total, rows / count, ...rest]);
  found.set(value, known);
  const offset = (at * known.data.length) / total;
  (known.data as Float32Array).set(computed.data as Float32Array, offset);
}

const keptName = (value: string): string => `kept/${value}`;
const largestName = (value: string): string => `largest/${value}`;

/** The denoiser with some of its values, in their storage type, as outputs. Works for any batch. */
function captureGraph(
  { graph: whole, plan, parameters, inputs, calibration }: CaptureOptions,
  quantized: CaptureOptions['quantized'],
  values: readonly string[],
  storage: BlockData['storage'],
): Graph {
  const graph = whole.clone();
  const emitter = new NodeEmitter(graph, 'capture');
  if (quantized !== null) {
    const shapes = inferShapes(graph, boundDims(itemDims(calibration), inputs, 2));
    const context = { shapes, parameters, timestep: inputs.timestep, trainedLayers: new Set<string>() };
    const lowering = floatLowering(graph, { ...context, trainRanges: false }, emitter);
    const activation: typeof lowering.activation = quantized.activations
      ? (quantizer, at) => lowering.activation(quantizer, at)
      : ({ value }) => value;
    insertQuantizers(graph, plan, { ...lowering, activation }, emitter);
  }
  graph.outputs = values.flatMap((value) => {
    const type = attribute.int(DATA_TYPE[storage]);
    const size = emitter.emit('ReduceMax', [emitter.emit('Abs', [value])], { keepdims: attribute.int(0) });
    const named = [
      [emitter.emit('Cast', [value], { to: type }), keptName(value), storage],
      [size, largestName(value), 'float32'],
    ] as const;
    return named.map(([from, name, element]) => {
      const producer = graph.producerOf(from);
      if (producer !== undefined) producer.outputs = [name];
      graph.invalidate();
      return { name, type: element, shape: null };
    });
  });
  removeDeadCode(graph);
  return graph;
}

/** Stream of the seed that orders allotted pairs. */
const PAIR_STREAM = 5;

/**
 * The calls of the denoiser that blocks are captured at, in no particular order of timesteps: spread evenly over timesteps and
 * branches with prompts drawn, or a draw of the pairs that were allotted, branches in turn.
 */
export function reconstructionItems(calibration: CalibrationSet, samples: number, seed: number): CalibrationItem[] {
  const { allotment } = calibration;
  if (allotment === undefined) {
    const trajectories = Array.from({ length: trajectoryCount(calibration) }, (_, index) => index);
    return fixedItems(calibration, trajectories, samples, 'training', seed);
  }
  const order = permutation(seed, PAIR_STREAM, allotment.length);
  const branches = branchCount(calibration);
  return Array.from({ length: Math.min(samples, allotment.length * branches) }, (_, index) => {
    const [place, round] = [index % order.length, Math.floor(index / order.length)];
    const pair = allotment[order[place] ?? 0] ?? { trajectory: 0, step: 0 };
    return { ...pair, branch: (place + round) % branches };
  });
}

/** Dims of one item's part of the denoiser's inputs. */
export interface ItemDims {
  readonly sample: readonly number[];
  readonly conditioning: readonly number[] | null;
}

export function itemDims({ samples, conditioning }: CalibrationSet): ItemDims {
  return { sample: samples.dims.slice(2), conditioning: conditioning?.dims.slice(1) ?? null };
}

/** Dims of the denoiser's inputs for a batch of items. */
export function boundDims(of: ItemDims, inputs: DenoiserInputs, batch: number): Record<string, readonly number[]> {
  const bound: Record<string, readonly number[]> = {
    [inputs.sample]: [batch, ...of.sample],
    [inputs.timestep]: [batch],
  };
  if (inputs.conditioning !== null && of.conditioning !== null) {
    bound[inputs.conditioning] = [batch, ...of.conditioning];
  }
  return bound;
}

/** Block data that is in memory. */
export function dataInMemory(
  tensors: ReadonlyMap<string, Tensor>,
  storage: BlockData['storage'],
  timesteps: readonly number[],
): BlockData {
  return {
    storage,
    timesteps,
    rows: async (name, items) => {
      const held = tensors.get(name);
      if (held === undefined) throw new NibbleflowError('MissingArtifact', 'block data is incomplete', { where: name });
      return gathered(held, items);
    },
  };
}

/** Items of a tensor [items, rows, …] as [items · rows, …]. */
function gathered(held: Tensor, items: readonly number[]): Tensor {
  const [total = 1, rows = 1, ...rest] = held.dims;
  const size = elementCount(held.dims) / total;
  const result = zeros(held.type, [items.length * rows, ...rest]);
  items.forEach((item, index) => {
    const part = held.data.subarray(item * size, (item + 1) * size);
    (result.data as Float32Array).set(part as Float32Array, index * size);
  });
  return tensor(held.type, result.dims, result.data);
}
