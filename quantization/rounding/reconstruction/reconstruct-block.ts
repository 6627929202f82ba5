import type { ReconstructionSettings } from '../../../contracts/reconstruction-settings.js';
import { writeModel } from '../../../models/onnx/model-proto.js';
import type { Float32Tensor } from '../../../models/tensors/tensor.js';
import { mergeTrained } from '../../finetuning/merge-trained.js';
import type { QuantizationPlan } from '../../layer-plan.js';
import type { QuantizedParameters, WeightParameters } from '../../quantized-parameters.js';
import { hardWeight } from './adaround.js';
import type { BlockData } from './block-data.js';
import { type BlockPhase, itemFeeds, type PhaseContext, runPhase } from './block-run.js';
import { type BlockTraining, buildBlockMeasure, buildBlockTraining } from './block-training-graph.js';
import { alphaName, type BlockContext, ownTables } from './student-block.js';

/** Where a block's reconstruction stands: a checkpoint. */
export interface BlockState {
  /** Index of the running phase, steps done in it. */
  readonly phase: number;
  readonly step: number;
  /** Held-back error of the block with the parameters that came in. */
  readonly before: number;
  /** What finished phases trained, by training-graph input name. */
  readonly trained: ReadonlyMap<string, Float32Tensor>;
  /** Values and Adam moments of the running phase; empty at its start. */
  readonly live: ReadonlyMap<string, Float32Tensor>;
}

export interface ReconstructOptions extends Omit<BlockContext, 'bound'> {
  readonly executor: PhaseContext['executor'];
  readonly parameters: QuantizedParameters;
  readonly data: BlockData;
  readonly settings: ReconstructionSettings;
  /** Dims of the denoiser's inputs for a batch of some size. */
  readonly boundFor: (batch: number) => BlockContext['bound'];
  readonly resume?: BlockState;
  readonly onStep?: (progress: BlockProgress, snapshot: () => Promise<BlockState>) => Promise<void>;
}

export interface BlockProgress {
  readonly done: number;
  readonly total: number;
  readonly error: number;
}

export interface BlockResult {
  /** Trained values by training-graph input name; empty when nothing beat what came in. */
  readonly trained: ReadonlyMap<string, Float32Tensor>;
  /** Σ(O − Õ)² / ΣO² of the block's outputs on held-back items. */
  readonly before: number;
  readonly after: number;
  readonly steps: number;
}

/** Share of the items that are not trained on, but measured. */
const HELD_BACK = 1 / 8;

/**
 * Learns how a block's weights round, and the scales of the activations that only it reads, so that its outputs come close to
 * the float network's. Held-back items decide whether the result is used.
 * @throws NibbleflowError NonFiniteLoss
 */
export async function reconstructBlock(options: ReconstructOptions): Promise<BlockResult> {
  const { settings, data, block, resume } = options;
  const { trained: seen, held } = splitItems(data.timesteps.length);
  const phases = phasesOf(options);
  const total = phases.reduce((sum, { steps }) => sum + steps, 0);
  const before = resume?.before ?? (await measure(options, options.parameters, held));
  let state: BlockState = resume ?? { phase: 0, step: 0, before, trained: new Map(), live: new Map() };
  while (state.phase < phases.length) {
    const { phase, step, live, trained } = state;
    const current = phases[phase] as PlannedPhase;
    const start = applyTrained(options.plan, options.parameters, trained);
    const training = buildBlockTraining(contextFor(options, settings.batchSize), current.training(start));
    const earlier = phases.slice(0, phase).reduce((sum, { steps }) => sum + steps, 0);
    const context: PhaseContext = {
      ...options,
      items: seen,
      timestep: options.inputs.timestep,
      block: block.name,
      onStep: async (done, error, snapshot) =>
        options.onStep?.({ done: earlier + done, total, error }, async () => ({
          ...{ phase, step: done, before, trained },
          live: await snapshot(),
        })),
    };
    const found =
      training.trainables.size === 0 ? new Map() : await runPhase(context, { ...current, training }, step, live);
    state = { phase: phase + 1, step: 0, before, trained: new Map([...trained, ...found]), live: new Map() };
  }
  const after = await measure(options, applyTrained(options.plan, options.parameters, state.trained), held);
  return { trained: after < before ? state.trained : new Map(), before, after: Math.min(before, after), steps: total };
}

interface PlannedPhase extends Omit<BlockPhase, 'training'> {
  training(start: QuantizedParameters): BlockTraining;
}

function phasesOf({ settings, data, plan, parameters, block }: ReconstructOptions): PlannedPhase[] {
  const tables = new Set(ownTables(plan, parameters, block).map(({ id }) => id));
  const readsQuantized = settings.inputs === 'quantized';
  const common = { storage: data.storage, inputMix: 0, activationDrop: 0, innerLossWeight: 0, hasPenalty: false };
  const rounding = (start: QuantizedParameters): BlockTraining => ({
    ...common,
    parameters: start,
    learnsRounding: true,
    quantizesActivations: settings.scales !== 'after',
    trainedRanges: settings.scales === 'joint' ? tables : new Set(),
    activationDrop: settings.activationDrop,
    innerLossWeight: settings.innerLossWeight,
    hasPenalty: settings.roundingPenalty > 0,
    inputMix: settings.inputMix,
    readsQuantized,
    power: 2,
  });
  const scales = (start: QuantizedParameters): BlockTraining => ({
    ...common,
    parameters: start,
    learnsRounding: false,
    quantizesActivations: true,
    trainedRanges: tables,
    readsQuantized: false,
    power: SCALE_POWER,
  });
  const first: PlannedPhase = { name: 'rounding', steps: settings.steps, training: rounding };
  if (settings.scales !== 'after' || tables.size === 0) return [first];
  return [first, { name: 'scales', steps: settings.scaleSteps, training: scales }];
}

/** Exponent of the loss that activation scales alone are trained on. */
const SCALE_POWER = 2.4;

function contextFor(options: ReconstructOptions, batch: number): BlockContext {
  return { ...options, bound: options.boundFor(batch) };
}

/** The last items are held back: items of a calibration draw are spread over timesteps, so both parts see all of them. */
function splitItems(count: number): { trained: readonly number[]; held: readonly number[] } {
  const held = Math.min(count - 1, Math.max(1, Math.round(count * HELD_BACK)));
  const all = Array.from({ length: count }, (_, index) => index);
  return { trained: all.slice(0, count - held), held: all.slice(count - held) };
}

/** Parameters with what a block trained: whole codes for its weights, scaled tables for its activations. */
export function applyTrained(
  plan: QuantizationPlan,
  parameters: QuantizedParameters,
  trained: ReadonlyMap<string, Float32Tensor>,
): QuantizedParameters {
  const weights = new Map<string, WeightParameters>(parameters.weights);
  for (const { name, weight } of plan.layers) {
    const alpha = trained.get(alphaName(name));
    const held = parameters.weights.get(name);
    if (weight === null || held === undefined || alpha === undefined) continue;
    weights.set(name, { ...held, weight: hardWeight(held, weight, alpha) });
  }
  return { ...mergeTrained(plan, parameters, trained), weights };
}

/** Relative squared error of the block's outputs, activations quantized, on some items in batches of at most `batchSize`. */
async function measure(
  options: ReconstructOptions,
  parameters: QuantizedParameters,
  items: readonly number[],
): Promise<number> {
  const { executor, data, settings, inputs } = options;
  const size = largestDivisor(items.length, settings.batchSize);
  const readsQuantized = settings.inputs === 'quantized';
  const measured = buildBlockMeasure(contextFor(options, size), { parameters, storage: data.storage, readsQuantized });
  const runnable = await executor.open(writeModel(measured.graph));
  let [error, energy] = [0, 0];
  try {
    for (let at = 0; at < items.length; at += size) {
      const feeds = await itemFeeds(measured, { data, timestep: inputs.timestep }, items.slice(at, at + size));
      const found = await runnable.run(feeds, [measured.error, measured.energy]);
      error += Number(found[measured.error]?.data[0]);
      energy += Number(found[measured.energy]?.data[0]);
    }
  } finally {
    await runnable.release();
  }
  return error / energy;
}

function largestDivisor(count: number, limit: number): number {
  let size = Math.min(count, limit);
  while (count % size !== 0) size -= 1;
  return size;
}
