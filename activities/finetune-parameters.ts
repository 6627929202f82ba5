import {
  type Activities,
  type FinetuneParametersResult,
  finetuneParametersInputSchema,
} from '../contracts/activities.js';
import { NibbleflowError } from '../contracts/errors.js';
import type { Recipe } from '../contracts/recipe.js';
import { readSafetensors, safetensorsChunks, writeSafetensors } from '../models/tensors/safetensors.js';
import type { CalibrationSet } from '../quantization/calibration/calibration-set.js';
import {
  type FinetuneOptions,
  type FinetuneResult,
  finetuneParameters,
} from '../quantization/finetuning/finetune-parameters.js';
import {
  checkpointFromState,
  type FinetuningState,
  stateFromCheckpoint,
} from '../quantization/finetuning/finetuning-state.js';
import { microBatches } from '../quantization/finetuning/training-step.js';
import { planningInputs } from '../quantization/plan-denoiser.js';
import { tensorsFromParameters } from '../quantization/quantized-parameters.js';
import { loadCalibration, loadGraph, loadParameters, loadPlan } from './load-artifacts.js';
import { type ActivityDeps, runStage, type StageContext } from './stage-frame.js';

/** Trains weights and scales; resumes from the last checkpoint as if nothing had happened. */
export function createFinetuneParameters(deps: ActivityDeps): Activities['finetuneParameters'] {
  return (rawInput) =>
    runStage(
      deps,
      {
        stage: 'finetune',
        version: 4,
        input: finetuneParametersInputSchema,
        key: ({ recipe, ...input }) => ({
          ...input,
          finetuning: recipe.finetuning,
          guidance: recipe.sampling.guidance,
        }),
      },
      rawInput,
      async (input, context): Promise<Omit<FinetuneParametersResult, 'reused' | 'seconds'>> => {
        const { set, denoiser } = await loadCalibration(context.store, input.calibration);
        const parts = batchParts(set, input.recipe.finetuning.batchSize, context.microBatchDivisor);
        const options = {
          graph: await loadGraph(context.store, input.graph),
          plan: await loadPlan(context.store, input.plan),
          parameters: await loadParameters(context.store, input.parameters),
          calibration: set,
          inputs: planningInputs(denoiser),
          settings: input.recipe.finetuning,
          guidance: input.recipe.sampling.guidance,
          microBatches: parts,
        };
        const result = await context.withEngine(input.compute, (executor) => tune({ ...options, executor }, context));
        const { validation, training, steps } = result;
        return {
          parameters: await context.store.put('parameters', serialized(result)),
          validation,
          training,
          steps,
          summary: `held-back error ${percent(validation.before)} → ${percent(validation.after)} in ${steps} steps${partsText(parts)}`,
        };
      },
    );
}

/**
 * In how many micro-batches batches are computed after memory ran out: each time twice as many, down to single pairs. Then the
 * person decides, instead of retries that run out of memory alike.
 */
function batchParts(set: CalibrationSet, batchSize: number, divisor: number): number {
  const parts = microBatches(set, batchSize, divisor);
  if (divisor === 1 || parts > microBatches(set, batchSize, divisor / 2)) return parts;
  throw new NibbleflowError('InvalidRecipe', 'finetuning ran out of memory', {
    where: `finetuning.batchSize ${batchSize}, in ${parts} parts`,
    fix: 'Free memory, or use less of it: --set finetuning.recompute=blocks, finetuning.savedActivations=int8.',
  });
}

function partsText(parts: number): string {
  return parts === 1 ? '' : `, batches in ${parts} parts after memory ran out`;
}

async function tune(options: FinetuneOptions, context: StageContext): Promise<FinetuneResult> {
  const saved = await context.checkpoint.load();
  const from = saved === undefined ? undefined : resumed(saved);
  const { phases } = options.settings;
  const note = 'building the training graph, measuring the held-back error';
  const at = from?.at ?? { done: 0, total: stepsOf(phases) };
  context.progress({ ...at, unit: 'steps', note, ...(from === undefined ? {} : { resumedAt: at.done }) });
  await context.breathe();
  const bytesOf = (state: FinetuningState, done: number): Uint8Array[] => {
    const { tensors, metadata } = checkpointFromState(state);
    const at: Position = { done, total: stepsOf(phases) };
    return [...safetensorsChunks(tensors, { ...metadata, at: JSON.stringify(at) })];
  };
  return finetuneParameters({
    ...options,
    ...(from === undefined ? {} : { resume: from.state }),
    onStep: async ({ phase, done, total, loss, validation }, snapshot) => {
      const note = `${phase}: loss ${loss.toPrecision(3)}, held-back error ${percent(validation)}`;
      context.progress({ done, total, unit: 'steps', note });
      await context.checkpoint.offer(async () => bytesOf(await snapshot(), done));
    },
    onPhaseEnd: (state) => context.checkpoint.save(bytesOf(state, stepsOf(phases.slice(0, state.phase)))),
  });
}

/** Steps that phases ask for; they may end earlier. */
function stepsOf(phases: Recipe['finetuning']['phases']): number {
  return phases.reduce((sum, { steps }) => sum + steps, 0);
}

/** Steps, as progress counts them. */
interface Position {
  readonly done: number;
  readonly total: number;
}

function resumed(bytes: Uint8Array): { state: FinetuningState; at: Position } {
  const { tensors, metadata } = readSafetensors(bytes);
  const at = JSON.parse(metadata.at ?? '{"done":0,"total":0}') as Position;
  return { state: stateFromCheckpoint(tensors, metadata), at };
}

/** The curve travels with the parameters that it led to, for the report. */
function serialized({ parameters, curve }: FinetuneResult): Uint8Array {
  return writeSafetensors(tensorsFromParameters(parameters), { curve: JSON.stringify(curve) });
}

function percent(share: number): string {
  return `${(100 * share).toFixed(2)} %`;
}
