import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EngineExecutor } from '../../../activities/engine/engine-executor.js';
import { type RecipeInput, recipeSchema } from '../../../contracts/recipe.js';
import { inferShapes } from '../../../models/onnx/shape-inference.js';
import { gaussianTensor } from '../../../models/tensors/random.js';
import { type Tensor, zeros } from '../../../models/tensors/tensor.js';
import { ActivationObservers } from '../../../quantization/calibration/activation-observers.js';
import type { CalibrationSet } from '../../../quantization/calibration/calibration-set.js';
import { observedValues } from '../../../quantization/calibration/observe-batch.js';
import { finetuneParameters } from '../../../quantization/finetuning/finetune-parameters.js';
import { trainingItems } from '../../../quantization/finetuning/finetuning-data.js';
import type { FinetuningState } from '../../../quantization/finetuning/finetuning-state.js';
import { selectedLayers } from '../../../quantization/finetuning/selected-layers.js';
import { TRAINING_INPUTS } from '../../../quantization/finetuning/training-graph.js';
import { microBatches, openTrainingStep, type Residents } from '../../../quantization/finetuning/training-step.js';
import { planLayers } from '../../../quantization/plan-layers.js';
import { roundParameters } from '../../../quantization/rounding/round-parameters.js';
import { tinyUnet } from '../../fixtures/tiny-pipeline.js';

/** A batch in micro-batches is the same training: the loss, the gradients and where they lead. */

const DIMS = [3, 12, 12];
const TIMESTEPS = [900, 300];
const TRAJECTORIES = 16;
const BATCH = 16;
const INPUTS = { sample: 'sample', timestep: 'timestep', conditioning: null };

/** Sums of float32 in another order. Measured on these graphs: up to 8e-6 of the largest gradient of a parameter. */
const GRADIENT_TOLERANCE = 3e-5;
/** Adam divides by the gradient's own size, so that where it is next to nothing its sign decides: errors grow a little. */
const VALIDATION_TOLERANCE = 1e-3;

let executor: EngineExecutor;
beforeAll(async () => {
  executor = await EngineExecutor.start({ device: 'cpu', threads: 1 });
});
afterAll(() => executor.close());

function calibrationOf(branches: 1 | 2): CalibrationSet {
  return {
    timesteps: TIMESTEPS,
    samples: gaussianTensor(1, 0, [TRAJECTORIES, TIMESTEPS.length, ...DIMS]),
    outputs: gaussianTensor(2, 0, [TRAJECTORIES, TIMESTEPS.length, branches, ...DIMS]),
    conditioning: null,
    negative: null,
    stepWeights: [0.5, 1.5],
  };
}

async function setUp(input: RecipeInput, branches: 1 | 2) {
  const recipe = recipeSchema.parse({
    ...input,
    activations: { ranges: 'timestep', groupSize: null },
    finetuning: { batchSize: BATCH, validateEvery: 2, ...input.finetuning },
  });
  const graph = tinyUnet();
  const shapes = inferShapes(graph, { sample: [2, ...DIMS], timestep: [2] });
  const plan = planLayers({ graph, shapes, recipe, inputs: INPUTS, floatBytes: 1 });
  const observers = new ActivationObservers();
  for (const value of observedValues(plan)) {
    for (const timestep of TIMESTEPS) observers.observe(value, timestep, gaussianTensor(3, timestep, [256]).data);
  }
  const parameters = await roundParameters({ graph, plan, observers, timesteps: TIMESTEPS });
  return { graph, plan, parameters, calibration: calibrationOf(branches), settings: recipe.finetuning };
}

type SetUp = Awaited<ReturnType<typeof setUp>>;

/** One step from the start in `parts` micro-batches: its loss, and the gradients as Adam's first moments tell them. */
async function firstStep({ graph, plan, parameters, calibration, settings }: SetUp, parts: number) {
  const branches = calibration.outputs.dims[2] ?? 1;
  const step = await openTrainingStep(
    { executor, calibration, inputs: INPUTS },
    {
      ...{ graph, plan, parameters, inputs: INPUTS, trainedLayers: selectedLayers(plan, ['convolution']) },
      layerLossWeight: settings.layerLossWeight,
      outputLossWeight: settings.outputLossWeight,
      guided: branches === 2 ? { scale: 1.5, weight: settings.guidedLossWeight } : null,
      memory: settings,
    },
    { batchSize: BATCH, parts },
  );
  const initial = new Map<string, Tensor>(step.trainables.map((one) => [one.name, one.initial]));
  const residents: Residents = {};
  for (const { name, shape } of step.state) {
    residents[name] = await executor.upload(initial.get(name) ?? zeros('float32', (shape ?? []).map(Number)));
  }
  const trajectories = Array.from({ length: TRAJECTORIES }, (_, i) => i);
  const items = trainingItems(calibration, trajectories, BATCH, 0, 7);
  const one = { type: 'float32' as const, dims: [], data: Float32Array.of(1) };
  const rates = { [TRAINING_INPUTS.weightRate]: one, [TRAINING_INPUTS.scaleRate]: one, [TRAINING_INPUTS.step]: one };
  const { loss, residents: after } = await step.run(items, rates, residents);
  const moments = new Map<string, Float32Array>();
  for (const { name } of step.trainables) {
    const moment = after[`${name}.m`];
    if (moment === undefined) throw new Error(`${name} has no moment`);
    moments.set(name, (await executor.download(moment)).data as Float32Array);
  }
  await executor.free(Object.values(after));
  await step.release();
  return { loss, moments };
}

function largestDifference(a: Float32Array, b: Float32Array): number {
  const largest = a.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
  const difference = a.reduce((max, value, i) => Math.max(max, Math.abs(value - (b[i] ?? Number.NaN))), 0);
  return largest === 0 ? difference : difference / largest;
}

describe('a training batch in micro-batches', () => {
  it('is divided into equal parts of whole pairs', () => {
    const [one, two] = [calibrationOf(1), calibrationOf(2)];
    expect([1, 2, 3, 4, 16, 64].map((wanted) => microBatches(one, 16, wanted))).toEqual([1, 2, 4, 4, 16, 16]);
    expect([2, 8, 16].map((wanted) => microBatches(two, 16, wanted))).toEqual([2, 8, 8]);
    expect(microBatches(one, 5, 2)).toBe(5);
  });

  it.each([
    ['the output alone', 1, { layerLossWeight: 0 }],
    ['the relative errors of layers as well', 1, { layerLossWeight: 1 }],
    ['what guidance makes of two branches', 2, { layerLossWeight: 1, guidedLossWeight: 0.5 }],
  ] as const)('has the loss and the gradients of the whole batch: %s', async (_, branches, finetuning) => {
    const given = await setUp({ finetuning }, branches);
    const whole = await firstStep(given, 1);
    for (const parts of [2, 4]) {
      const micro = await firstStep(given, parts);
      expect(Math.abs(micro.loss / whole.loss - 1)).toBeLessThan(GRADIENT_TOLERANCE);
      expect(micro.moments.size).toBe(whole.moments.size);
      for (const [name, moment] of whole.moments) {
        const found = micro.moments.get(name) ?? new Float32Array();
        expect(largestDifference(moment, found), name).toBeLessThan(GRADIENT_TOLERANCE);
      }
    }
  });

  it('leads to parameters as good, is itself deterministic, and may begin in the middle', async () => {
    const { graph, plan, parameters, calibration, settings } = await setUp(
      { finetuning: { phases: [{ name: 'all', layers: ['convolution'], steps: 8 }] } },
      2,
    );
    const options = { executor, graph, plan, parameters, calibration, inputs: INPUTS, settings, guidance: 1.5 };
    const whole = await finetuneParameters(options);
    const [first, second] = [
      await finetuneParameters({ ...options, microBatches: 2 }),
      await finetuneParameters({ ...options, microBatches: 2 }),
    ];
    expect(first.curve).toEqual(second.curve);
    expect(whole.validation.after).toBeLessThan(whole.validation.before);
    expect(Math.abs(first.validation.after / whole.validation.after - 1)).toBeLessThan(VALIDATION_TOLERANCE);
    // Memory may run out in the middle: the state of a whole-batch training goes on in micro-batches.
    let middle: FinetuningState | undefined;
    const stopped = new Error('stopped in the middle');
    const stopping = finetuneParameters({
      ...options,
      onStep: async ({ done }, snapshot) => {
        if (done < 4) return;
        middle = await snapshot();
        throw stopped;
      },
    });
    await expect(stopping).rejects.toBe(stopped);
    if (middle === undefined) throw new Error('there is no snapshot');
    const resumed = await finetuneParameters({ ...options, resume: middle, microBatches: 4 });
    expect(Math.abs(resumed.validation.after / whole.validation.after - 1)).toBeLessThan(VALIDATION_TOLERANCE);
  });
});
