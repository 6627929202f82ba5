import { NibbleflowError } from '../../contracts/errors.js';
import type { Executor, Feeds, Runnable } from '../../models/executor.js';
import type { Graph } from '../../models/onnx/graph.js';
import { writeModel } from '../../models/onnx/model-proto.js';
import type { CalibrationItem, CalibrationSet } from '../calibration/calibration-set.js';
import type { QuantizationPlan } from '../layer-plan.js';
import type { DenoiserInputs } from '../layer-roles.js';
import type { QuantizedParameters } from '../quantized-parameters.js';
import { calibrationFeeds } from './finetuning-data.js';
import { buildValidationGraph, trainablesOf } from './training-graph.js';

export interface ValidatorContext {
  readonly executor: Executor;
  readonly graph: Graph;
  readonly plan: QuantizationPlan;
  readonly calibration: CalibrationSet;
  readonly inputs: DenoiserInputs;
  /** Runs are this many times smaller; default 1. */
  readonly microBatches?: number;
}

/** Most items per run of the validation graph. */
const LARGEST_BATCH = 16;

/** The largest size of equal batches that leaves no item out. Throws InvalidInput for no items. */
export function validationBatch(items: number, microBatches = 1): number {
  if (items === 0) {
    throw new NibbleflowError('InvalidInput', 'there is nothing to validate on: no prompt is held back', {
      where: 'calibration set',
      fix: 'Calibrate on two prompts or more.',
    });
  }
  let size = Math.min(Math.max(1, Math.floor(LARGEST_BATCH / microBatches)), items);
  while (items % size !== 0) size -= 1;
  return size;
}

/** Measures Σ(ε − ε̃)² / Σε² of the network output on a fixed list of items. */
export class Validator {
  private constructor(
    private readonly runnable: Runnable,
    private readonly outputs: { readonly error: string; readonly energy: string },
    private readonly batches: readonly Feeds[],
    private readonly initial: Feeds,
  ) {}

  /** `trainedLayers` take their parameters as feeds of `error`; everything else is fixed to `parameters`. */
  static async open(
    context: ValidatorContext,
    parameters: QuantizedParameters,
    trainedLayers: ReadonlySet<string>,
    items: readonly CalibrationItem[],
  ): Promise<Validator> {
    const { graph, plan, inputs, calibration, executor } = context;
    const size = validationBatch(items.length, context.microBatches);
    const built = buildValidationGraph({
      graph,
      plan,
      inputs,
      parameters,
      sampleDims: [size, ...calibration.samples.dims.slice(2)],
      conditioningDims: calibration.conditioning === null ? null : [size, ...calibration.conditioning.dims.slice(1)],
      trainedLayers,
      layerLossWeight: 0,
      outputLossWeight: 1,
      guided: null,
    });
    const batches: Feeds[] = [];
    for (let at = 0; at + size <= items.length; at += size) {
      batches.push(calibrationFeeds(calibration, items.slice(at, at + size), inputs, built.graph));
    }
    const taken = new Set(built.graph.inputs.map((input) => input.name));
    const known = trainablesOf(plan, parameters, trainedLayers).filter(({ name }) => taken.has(name));
    const initial = Object.fromEntries(known.map((one) => [one.name, one.initial]));
    return new Validator(await executor.open(writeModel(built.graph)), built, batches, initial);
  }

  /** Relative squared error; `trained` replaces the parameters it was opened with. */
  async error(trained: Feeds): Promise<number> {
    let error = 0;
    let energy = 0;
    for (const batch of this.batches) {
      const feeds = { ...batch, ...this.initial, ...trained };
      const found = await this.runnable.run(feeds, [this.outputs.error, this.outputs.energy]);
      error += Number(found[this.outputs.error]?.data[0]);
      energy += Number(found[this.outputs.energy]?.data[0]);
    }
    return error / energy;
  }

  async release(): Promise<void> {
    await this.runnable.release();
  }
}
