import type { Feeds } from '../../models/executor.js';
import type { Graph } from '../../models/onnx/graph.js';
import { numbersAs, TIMESTEP_TYPES } from '../../models/pipelines/denoiser-feeds.js';
import { permutation } from '../../models/tensors/random.js';
import { type Float32Tensor, float32, type Tensor } from '../../models/tensors/tensor.js';
import {
  batchOf,
  branchCount,
  type CalibrationItem,
  type CalibrationSet,
  drawnPairs,
  trajectoryCount,
} from '../calibration/calibration-set.js';
import type { DenoiserInputs } from '../layer-roles.js';
import { TRAINING_INPUTS } from './training-graph.js';

/** Streams of the seed, so that split, batches and validation draw independently. */
const STREAM = { split: 1, validation: 2, training: 3, epochs: 1000 } as const;

/** Trajectories by use: a prompt is trained on or validated on, never both. */
export interface PromptSplit {
  readonly training: readonly number[];
  readonly validation: readonly number[];
}

/** Holds back a share of the trajectories (one prompt each), at least one. */
export function splitTrajectories(set: CalibrationSet, fraction: number, seed: number): PromptSplit {
  const order = Array.from(permutation(seed, STREAM.split, trajectoryCount(set)));
  const held = Math.min(order.length - 1, Math.max(1, Math.round(order.length * fraction)));
  return { training: order.slice(held), validation: order.slice(0, held) };
}

/** A fixed draw of `count` items over `trajectories`, spread evenly over timesteps and branches; all of them when they are fewer. */
export function fixedItems(
  set: CalibrationSet,
  trajectories: readonly number[],
  count: number,
  purpose: 'validation' | 'training',
  seed: number,
): CalibrationItem[] {
  if (purpose === 'training' && set.allotment !== undefined) return allottedItems(set, trajectories, count, seed);
  const order = permutation(seed, STREAM[purpose], trajectories.length);
  const steps = set.timesteps.length;
  const branches = branchCount(set);
  const all = trajectories.length * steps * branches;
  if (all <= count) {
    return Array.from({ length: all }, (_, index) => ({
      trajectory: trajectories[Math.floor(index / (steps * branches))] ?? 0,
      step: index % steps,
      branch: Math.floor(index / steps) % branches,
    }));
  }
  return Array.from({ length: count }, (_, index) => ({
    trajectory: trajectories[order[index % order.length] ?? 0] ?? 0,
    step: (index + Math.floor(index / trajectories.length)) % steps,
    branch: Math.floor(index / steps) % branches,
  }));
}

/** A draw from the allotted pairs; branches take turns from one pair to the next. */
function allottedItems(
  set: CalibrationSet,
  trajectories: readonly number[],
  count: number,
  seed: number,
): CalibrationItem[] {
  const branches = branchCount(set);
  const pairs = drawnPairs(set, trajectories);
  const order = permutation(seed, STREAM.training, pairs.length);
  return Array.from({ length: Math.min(count, pairs.length * branches) }, (_, index) => {
    const pair = pairs[order[index % pairs.length] ?? 0] ?? { trajectory: 0, step: 0 };
    return { ...pair, branch: (index + Math.floor(index / pairs.length)) % branches };
  });
}

/** Items of a training step: as many of each guidance branch, so that an odd batch size gives one less, and 1 gives 2. */
export function trainingBatch(set: CalibrationSet, batchSize: number): number {
  const branches = branchCount(set);
  return Math.max(1, Math.floor(batchSize / branches)) * branches;
}

/**
 * The items of training step `step`: every epoch walks all (trajectory, timestep) pairs of the training prompts, or the
 * allotted ones, in a new order. With two branches the first half of the batch holds the negative branch of as many pairs, the second half the
 * prompt's branch of the same pairs. A function of seed and step alone, so a resumed run draws what an undisturbed one draws.
 */
export function trainingItems(
  set: CalibrationSet,
  trajectories: readonly number[],
  batchSize: number,
  step: number,
  seed: number,
): CalibrationItem[] {
  const pairs = drawnPairs(set, trajectories);
  const branches = branchCount(set);
  const drawn = trainingBatch(set, batchSize) / branches;
  const chosen = Array.from({ length: drawn }, (_, row) => {
    const position = step * drawn + row;
    const order = epochOrder(seed, Math.floor(position / pairs.length), pairs.length);
    return pairs[order[position % pairs.length] ?? 0] ?? { trajectory: 0, step: 0 };
  });
  return Array.from({ length: branches }, (_, branch) => chosen.map((item) => ({ ...item, branch }))).flat();
}

/** The last drawn epoch order; drawing it again gives the same, so this only saves time. */
let lastOrder: { key: string; order: Uint32Array } = { key: '', order: new Uint32Array(0) };

function epochOrder(seed: number, epoch: number, pairs: number): Uint32Array {
  const key = `${seed}/${epoch}/${pairs}`;
  if (lastOrder.key !== key) lastOrder = { key, order: permutation(seed, STREAM.epochs + epoch, pairs) };
  return lastOrder.order;
}

/** Feeds of a training or validation graph for some items. */
export function calibrationFeeds(
  set: CalibrationSet,
  items: readonly CalibrationItem[],
  inputs: DenoiserInputs,
  graph: Graph,
): Feeds {
  const batch = batchOf(set, items);
  const declared = graph.inputs.find((input) => input.name === inputs.timestep)?.type;
  const type = TIMESTEP_TYPES.find((one) => one === declared) ?? 'float32';
  const timestep = numbersAs(type, [items.length], batch.timesteps);
  const feeds: Record<string, Tensor> = { [inputs.sample]: batch.sample, [inputs.timestep]: timestep };
  if (inputs.conditioning !== null && batch.conditioning !== null) feeds[inputs.conditioning] = batch.conditioning;
  const taken = (name: string): boolean => graph.inputs.some((input) => input.name === name);
  if (taken(TRAINING_INPUTS.target)) feeds[TRAINING_INPUTS.target] = batch.target;
  if (taken(TRAINING_INPUTS.rowWeight)) feeds[TRAINING_INPUTS.rowWeight] = rowWeights(set, items);
  return feeds;
}

/** r_t of the pairs in a batch: the set's step weights, which average 1. */
function rowWeights(set: CalibrationSet, items: readonly CalibrationItem[]): Float32Tensor {
  const half = items.slice(0, items.length / 2);
  const dims = [half.length, ...set.samples.dims.slice(2).map(() => 1)];
  return float32(
    dims,
    half.map(({ step }) => set.stepWeights[step] ?? 1),
  );
}
