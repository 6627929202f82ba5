import { NibbleflowError } from '../../contracts/errors.js';
import type { FinetuningPhase } from '../../contracts/recipe.js';
import type { Executor, Resident } from '../../models/executor.js';
import { asFloat32, float32, type Tensor, zeros } from '../../models/tensors/tensor.js';
import { branchCount, type CalibrationItem } from '../calibration/calibration-set.js';
import type { QuantizedParameters } from '../quantized-parameters.js';
import type { FinetuneOptions } from './finetune-parameters.js';
import { trainingItems } from './finetuning-data.js';
import type { FinetuningState } from './finetuning-state.js';
import { mergeTrained } from './merge-trained.js';
import { selectedLayers } from './selected-layers.js';
import { TRAINING_INPUTS, type Trainable, trainablesOf } from './training-graph.js';
import { microBatches, openTrainingStep, type Residents, type TrainingStep } from './training-step.js';
import { Validator } from './validator.js';

/**
 * One phase: a training session, a validation session, and parameters that stay in the engine. Learning rates rise for a
 * short warm-up and fall to zero along half a cosine. A phase whose roles no layer has, without tables to train, is passed over.
 */
export class PhaseRun {
  constructor(
    private readonly options: FinetuneOptions,
    private readonly phase: FinetuningPhase,
    private readonly prompts: readonly number[],
    private readonly held: readonly CalibrationItem[],
  ) {}

  async run(start: FinetuningState): Promise<FinetuningState> {
    const { options, phase } = this;
    const trained = selectedLayers(options.plan, phase.layers);
    if (trainablesOf(options.plan, start.start, trained).length === 0) return nextPhase(start, start.start);
    const step = await this.openStep(start.start, trained);
    const validator = await Validator.open(options, start.start, trained, this.held);
    const residents = await uploadAll(options.executor, step, start.live);
    const loop = new PhaseLoop(options, phase, this.prompts, { step, validator, residents });
    try {
      return await loop.run(start);
    } finally {
      await loop.release();
    }
  }

  private openStep(parameters: QuantizedParameters, trainedLayers: ReadonlySet<string>): Promise<TrainingStep> {
    const { options } = this;
    const { graph, plan, inputs, settings, calibration } = options;
    const spec = {
      ...{ graph, plan, inputs, parameters, trainedLayers },
      layerLossWeight: this.phase.layerLossWeight ?? settings.layerLossWeight,
      outputLossWeight: settings.outputLossWeight,
      guided: branchCount(calibration) === 2 ? { scale: options.guidance, weight: settings.guidedLossWeight } : null,
      trustFactor: settings.gradient === 'trust' ? settings.trustFactor : null,
      memory: settings,
    };
    const { batchSize } = settings;
    const parts = microBatches(calibration, batchSize, options.microBatches ?? 1);
    return openTrainingStep(options, spec, { batchSize, parts });
  }
}

interface PhaseSessions {
  readonly step: TrainingStep;
  readonly validator: Validator;
  /** Parameters and moments by input name. */
  residents: Residents;
}

class PhaseLoop {
  constructor(
    private readonly options: FinetuneOptions,
    private readonly phase: FinetuningPhase,
    private readonly prompts: readonly number[],
    private readonly sessions: PhaseSessions,
  ) {}

  async run(start: FinetuningState): Promise<FinetuningState> {
    let state = start;
    const { validateEvery, patience } = this.options.settings;
    while (state.step < this.phase.steps && state.stale < patience) {
      const loss = await this.step(state);
      state = { ...state, step: state.step + 1, lossSum: state.lossSum + loss, lossCount: state.lossCount + 1 };
      if (state.step % validateEvery === 0 || state.step === this.phase.steps) state = await this.validate(state);
      await this.report(state, loss);
    }
    return nextPhase(state, mergeTrained(this.options.plan, state.start, state.bestTrained));
  }

  async release(): Promise<void> {
    await this.options.executor.free(Object.values(this.sessions.residents));
    await this.sessions.validator.release();
    await this.sessions.step.release();
  }

  private async step(state: FinetuningState): Promise<number> {
    const { options, phase, sessions } = this;
    const { settings, calibration } = options;
    const position = state.stepsBefore + state.step;
    const items = trainingItems(calibration, this.prompts, settings.batchSize, position, settings.seed);
    const decay = rateFactor(state.step, phase.steps);
    const rates = {
      [TRAINING_INPUTS.weightRate]: float32([], [phase.learningRateWeights * decay]),
      [TRAINING_INPUTS.scaleRate]: float32([], [phase.learningRateScales * decay]),
      [TRAINING_INPUTS.step]: float32([], [state.step + 1]),
    };
    const { loss, residents } = await sessions.step.run(items, rates, sessions.residents);
    sessions.residents = residents;
    if (!Number.isFinite(loss)) throw nonFinite(phase, state.step);
    return loss;
  }

  private async validate(state: FinetuningState): Promise<FinetuningState> {
    const validation = await this.sessions.validator.error(this.trainableResidents());
    const point = {
      phase: this.phase.name,
      step: state.stepsBefore + state.step,
      validation,
      loss: state.lossCount === 0 ? null : state.lossSum / state.lossCount,
    };
    const next = { ...state, curve: [...state.curve, point], lossSum: 0, lossCount: 0 };
    if (!(validation < state.bestValidation)) return { ...next, stale: state.stale + 1 };
    const trained = await this.download(this.sessions.step.trainables.map(({ name }) => name));
    const bestTrained = new Map([...trained].map(([name, value]) => [name, asFloat32(value)] as const));
    return { ...next, bestTrained, bestValidation: validation, stale: 0 };
  }

  private async report(state: FinetuningState, loss: number): Promise<void> {
    const total = this.options.settings.phases.reduce((sum, { steps }) => sum + steps, 0);
    const planned = this.options.settings.phases.slice(0, state.phase).reduce((sum, { steps }) => sum + steps, 0);
    await this.options.onStep?.(
      { phase: this.phase.name, done: planned + state.step, total, loss, validation: state.bestValidation },
      async () => ({ ...state, live: await this.download(Object.keys(this.sessions.residents)) }),
    );
  }

  private trainableResidents(): Record<string, Resident> {
    const found: Record<string, Resident> = {};
    for (const { name } of this.sessions.step.trainables) {
      const resident = this.sessions.residents[name];
      if (resident !== undefined) found[name] = resident;
    }
    return found;
  }

  private async download(names: readonly string[]): Promise<Map<string, Tensor>> {
    const result = new Map<string, Tensor>();
    for (const name of names) {
      const resident = this.sessions.residents[name];
      if (resident !== undefined) result.set(name, await this.options.executor.download(resident));
    }
    return result;
  }
}

/** Where a run stands behind a phase that left these parameters. */
function nextPhase(state: FinetuningState, parameters: QuantizedParameters): FinetuningState {
  return {
    ...state,
    phase: state.phase + 1,
    step: 0,
    stepsBefore: state.stepsBefore + state.step,
    stale: 0,
    start: parameters,
    bestTrained: new Map(),
    live: new Map(),
  };
}

/** Share of the phase in which rates rise linearly from 0, before they fall along half a cosine to 0. */
const WARM_UP_SHARE = 0.05;

/** Factor on the learning rates at `step` of `steps`. */
function rateFactor(step: number, steps: number): number {
  const warmUp = Math.ceil(steps * WARM_UP_SHARE);
  if (step < warmUp) return (step + 1) / (warmUp + 1);
  return (1 + Math.cos((Math.PI * (step - warmUp)) / Math.max(1, steps - warmUp))) / 2;
}

/** Residents for everything that training changes: from a checkpoint, or initial values with zero moments. */
async function uploadAll(
  executor: Executor,
  { trainables, state }: TrainingStep,
  live: ReadonlyMap<string, Tensor>,
): Promise<Residents> {
  const initial = new Map(trainables.map((one: Trainable) => [one.name, one.initial]));
  const residents: Residents = {};
  for (const { name, type, shape } of state) {
    const empty = zeros(type === 'uint8' ? 'uint8' : 'float32', (shape ?? []).map(Number));
    residents[name] = await executor.upload(live.get(name) ?? initial.get(name) ?? empty);
  }
  return residents;
}

function nonFinite(phase: FinetuningPhase, step: number): NibbleflowError {
  return new NibbleflowError('NonFiniteLoss', 'The finetuning loss is no longer a finite number', {
    where: `phase ${phase.name}, step ${step}`,
    fix: 'Lower finetuning.phases[].learningRateWeights and learningRateScales.',
  });
}
