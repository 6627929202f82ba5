import { NibbleflowError } from '../../../contracts/errors.js';
import type { ReconstructionSettings } from '../../../contracts/reconstruction-settings.js';
import type { Executor, Feeds, Resident, Runnable } from '../../../models/executor.js';
import { writeModel } from '../../../models/onnx/model-proto.js';
import { numbersAs, TIMESTEP_TYPES } from '../../../models/pipelines/denoiser-feeds.js';
import { permutation } from '../../../models/tensors/random.js';
import { asFloat32, type Float32Tensor, float32, type Tensor, zeros } from '../../../models/tensors/tensor.js';
import type { BlockData } from './block-data.js';
import { BLOCK_INPUTS, type BlockTrainingGraph } from './block-training-graph.js';
import { MASK_INPUTS } from './random-masks.js';

/** One stretch of training: its graph, and what its steps do. */
export interface BlockPhase {
  readonly name: 'rounding' | 'scales';
  readonly steps: number;
  readonly training: BlockTrainingGraph;
}

export interface PhaseContext {
  readonly executor: Executor;
  readonly settings: ReconstructionSettings;
  readonly data: BlockData;
  /** Items that are trained on. */
  readonly items: readonly number[];
  /** Name of the denoiser's timestep input. */
  readonly timestep: string;
  /** Names the block in errors. */
  readonly block: string;
  readonly onStep?: (
    done: number,
    error: number,
    snapshot: () => Promise<ReadonlyMap<string, Float32Tensor>>,
  ) => Promise<void>;
}

/** Streams of the seed beside those of the masks. */
const EPOCH_STREAM = 1000;
/** Exponent of the penalty: falls from the first to the second behind the warm-up. */
const BETA = { start: 20, end: 2 } as const;

/**
 * Trains one phase from `live` (values and Adam moments by input name, empty for a fresh start) at `firstStep`.
 * @returns the trained values by input name
 * @throws NibbleflowError NonFiniteLoss
 */
export async function runPhase(
  context: PhaseContext,
  phase: BlockPhase,
  firstStep: number,
  live: ReadonlyMap<string, Float32Tensor>,
): Promise<Map<string, Float32Tensor>> {
  const { executor, settings } = context;
  const { training } = phase;
  const runnable = await executor.open(writeModel(training.graph));
  const tape = training.masks.isEmpty ? undefined : await executor.upload(training.masks.tape(settings.seed));
  let residents = await uploadAll(executor, training, live);
  const names = [...training.trainables.keys()];
  try {
    for (let step = firstStep; step < phase.steps; step += 1) {
      const feeds = { ...(await stepFeeds(context, phase, step)), ...residents };
      const all: Feeds = tape === undefined ? feeds : { ...feeds, [MASK_INPUTS.tape]: tape };
      const stepped = await trainStep(runnable, training, all);
      await executor.free(Object.values(residents));
      residents = stepped.residents;
      if (!Number.isFinite(stepped.error)) throw nonFinite(context, phase, step);
      await context.onStep?.(step + 1, stepped.error, () => download(executor, residents, Object.keys(residents)));
    }
    return await download(executor, residents, names);
  } finally {
    await executor.free([...Object.values(residents), ...(tape === undefined ? [] : [tape])]);
    await runnable.release();
  }
}

async function trainStep(
  runnable: Runnable,
  { error, updates }: BlockTrainingGraph,
  feeds: Feeds,
): Promise<{ error: number; residents: Record<string, Resident> }> {
  const { outputs, kept } = await runnable.runKeeping(feeds, [error], [...updates.values()]);
  const residents = Object.fromEntries([...updates].map(([name, updated]) => [name, kept[updated] as Resident]));
  return { error: Number(outputs[error]?.data[0]), residents };
}

async function stepFeeds(context: PhaseContext, phase: BlockPhase, step: number): Promise<Record<string, Tensor>> {
  const { settings, items } = context;
  const { graph, masks } = phase.training;
  const decay = (1 + Math.cos((Math.PI * step) / phase.steps)) / 2;
  const { beta, weight } = penaltyAt(step, phase.steps, settings);
  const drawn = stepItems(items, settings.batchSize, step, settings.seed);
  const scalars: Record<string, number> = {
    [BLOCK_INPUTS.roundingRate]: settings.learningRateRounding * decay,
    [BLOCK_INPUTS.scaleRate]: settings.learningRateScales * decay,
    [BLOCK_INPUTS.step]: step + 1,
    [BLOCK_INPUTS.beta]: beta,
    [BLOCK_INPUTS.penaltyWeight]: weight,
  };
  const taken = new Set(graph.inputs.map(({ name }) => name));
  const feeds = await itemFeeds(phase.training, context, drawn);
  for (const [name, value] of Object.entries(scalars)) if (taken.has(name)) feeds[name] = float32([], [value]);
  if (!masks.isEmpty) feeds[MASK_INPUTS.offsets] = masks.offsets(settings.seed, step);
  return feeds;
}

/** Cached values and timesteps of some items, those that the graph reads. */
export async function itemFeeds(
  { graph }: Pick<BlockTrainingGraph, 'graph'>,
  { data, timestep }: Pick<PhaseContext, 'data' | 'timestep'>,
  items: readonly number[],
): Promise<Record<string, Tensor>> {
  const feeds: Record<string, Tensor> = {};
  for (const { name, type } of graph.inputs) {
    if (/^(float|quantized|target)\//.test(name)) feeds[name] = await data.rows(name, items);
    if (name !== timestep) continue;
    const element = TIMESTEP_TYPES.find((one) => one === type) ?? 'float32';
    const values = items.map((item) => data.timesteps[item] ?? 0);
    feeds[name] = numbersAs(element, [items.length], values);
  }
  return feeds;
}

/** β and weight of the rounding penalty: none in the warm-up, then β falls linearly. */
export function penaltyAt(
  step: number,
  steps: number,
  { roundingPenalty, penaltyWarmUp }: Pick<ReconstructionSettings, 'roundingPenalty' | 'penaltyWarmUp'>,
): { beta: number; weight: number } {
  const start = Math.floor(steps * penaltyWarmUp);
  if (step < start) return { beta: BETA.start, weight: 0 };
  const share = (step - start) / Math.max(1, steps - start);
  return { beta: BETA.start + (BETA.end - BETA.start) * share, weight: roundingPenalty };
}

/** Every epoch walks all items in a new order; a function of seed and step alone. */
export function stepItems(items: readonly number[], batchSize: number, step: number, seed: number): number[] {
  return Array.from({ length: batchSize }, (_, row) => {
    const position = step * batchSize + row;
    const epoch = Math.floor(position / items.length);
    const order = permutation(seed, EPOCH_STREAM + epoch, items.length);
    return items[order[position % items.length] ?? 0] ?? 0;
  });
}

async function uploadAll(
  executor: Executor,
  { graph, trainables, updates }: BlockTrainingGraph,
  live: ReadonlyMap<string, Float32Tensor>,
): Promise<Record<string, Resident>> {
  const dims = new Map(graph.inputs.map(({ name, shape }) => [name, (shape ?? []).map(Number)]));
  const residents: Record<string, Resident> = {};
  for (const name of updates.keys()) {
    const value = live.get(name) ?? trainables.get(name) ?? zeros('float32', dims.get(name) ?? []);
    residents[name] = await executor.upload(value);
  }
  return residents;
}

async function download(
  executor: Executor,
  residents: Readonly<Record<string, Resident>>,
  names: readonly string[],
): Promise<Map<string, Float32Tensor>> {
  const found = new Map<string, Float32Tensor>();
  for (const name of names) {
    const resident = residents[name];
    if (resident !== undefined) found.set(name, asFloat32(await executor.download(resident)));
  }
  return found;
}

function nonFinite({ block }: PhaseContext, { name }: BlockPhase, step: number): NibbleflowError {
  return new NibbleflowError('NonFiniteLoss', 'The reconstruction loss is no longer a finite number', {
    where: `block ${block}, ${name}, step ${step}`,
    fix: 'Lower reconstruction.learningRateRounding and learningRateScales.',
  });
}
