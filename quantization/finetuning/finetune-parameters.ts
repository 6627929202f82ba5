import type { FinetuningPhase, Recipe } from '../../contracts/recipe.js';
import type { Executor } from '../../models/executor.js';
import type { Graph } from '../../models/onnx/graph.js';
import type { CalibrationItem, CalibrationSet } from '../calibration/calibration-set.js';
import type { QuantizationPlan } from '../layer-plan.js';
import type { DenoiserInputs } from '../layer-roles.js';
import type { QuantizedParameters } from '../quantized-parameters.js';
import { fixedItems, splitTrajectories } from './finetuning-data.js';
import type { CurvePoint, FinetuningState } from './finetuning-state.js';
import { PhaseRun } from './phase-run.js';
import { Validator } from './validator.js';

/**
 * Selective finetuning (QuEST, Wang et al., ICCV 2025): phase after phase trains the weights, biases and scales of the
 * layers with the phase's roles, and all activation tables, by Adam through straight-through rounding. A share of the prompts
 * is held back; the parameters with the lowest held-back error win, those that came in included, so the result never
 * validates worse than its start.
 */
export interface FinetuneOptions {
  readonly executor: Executor;
  /** The transformed float denoiser. */
  readonly graph: Graph;
  readonly plan: QuantizationPlan;
  readonly parameters: QuantizedParameters;
  readonly calibration: CalibrationSet;
  readonly inputs: DenoiserInputs;
  readonly settings: Recipe['finetuning'];
  /** Guidance scale of the sampler. */
  readonly guidance: number;
  /** Computes a batch in this many micro-batches or a few more, for devices that cannot hold it; default 1. */
  readonly microBatches?: number;
  /** Continues from here instead of the start. */
  readonly resume?: FinetuningState;
  /** Called after each phase: the time for a checkpoint, as building the graphs of the next one takes long. */
  readonly onPhaseEnd?: (state: FinetuningState) => Promise<void>;
  /** Called after every step; `snapshot` collects the state for a checkpoint. */
  readonly onStep?: (progress: FinetuneProgress, snapshot: () => Promise<FinetuningState>) => Promise<void>;
}

export interface FinetuneProgress {
  readonly phase: string;
  /** Steps done and planned, over all phases. */
  readonly done: number;
  readonly total: number;
  readonly loss: number;
  readonly validation: number;
}

export interface FinetuneResult {
  readonly parameters: QuantizedParameters;
  readonly validation: { readonly before: number; readonly after: number };
  readonly training: { readonly before: number; readonly after: number };
  readonly curve: readonly CurvePoint[];
  readonly steps: number;
}

/** Held-back items per validation: enough that their error's own spread is small beside the gains looked for. */
export const VALIDATION_ITEMS = 128;

/** @throws NibbleflowError NonFiniteLoss when the loss is no longer a number. */
export async function finetuneParameters(options: FinetuneOptions): Promise<FinetuneResult> {
  const { calibration, settings } = options;
  const split = splitTrajectories(calibration, settings.validationFraction, settings.seed);
  const held = fixedItems(calibration, split.validation, VALIDATION_ITEMS, 'validation', settings.seed);
  const seen = fixedItems(calibration, split.training, VALIDATION_ITEMS, 'training', settings.seed);
  let state = options.resume ?? (await initialState(options, held, seen));
  while (state.phase < settings.phases.length) {
    const phase = settings.phases[state.phase] as FinetuningPhase;
    state = await new PhaseRun(options, phase, split.training, held).run(state);
    await options.onPhaseEnd?.(state);
  }
  const first = state.curve[0]?.validation ?? state.bestValidation;
  const after = await measure(options, state.start, seen);
  return {
    parameters: state.start,
    validation: { before: first, after: state.bestValidation },
    training: { before: state.trainingBefore, after },
    curve: state.curve,
    steps: state.stepsBefore,
  };
}

async function initialState(
  options: FinetuneOptions,
  held: readonly CalibrationItem[],
  seen: readonly CalibrationItem[],
): Promise<FinetuningState> {
  const validation = await measure(options, options.parameters, held);
  return {
    phase: 0,
    step: 0,
    stepsBefore: 0,
    start: options.parameters,
    bestTrained: new Map(),
    bestValidation: validation,
    stale: 0,
    lossSum: 0,
    lossCount: 0,
    curve: [{ phase: 'start', step: 0, validation, loss: null }],
    trainingBefore: await measure(options, options.parameters, seen),
    live: new Map(),
  };
}

/** Relative error of some parameters on some items. */
async function measure(
  options: FinetuneOptions,
  parameters: QuantizedParameters,
  items: readonly CalibrationItem[],
): Promise<number> {
  const validator = await Validator.open(options, parameters, new Set(), items);
  try {
    return await validator.error({});
  } finally {
    await validator.release();
  }
}
