import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EngineExecutor } from '../../../activities/engine/engine-executor.js';
import { type RecipeInput, recipeSchema } from '../../../contracts/recipe.js';
import { writeModel } from '../../../models/onnx/model-proto.js';
import { inferShapes } from '../../../models/onnx/shape-inference.js';
import { gaussianTensor } from '../../../models/tensors/random.js';
import { asFloat32, int64, type Tensor } from '../../../models/tensors/tensor.js';
import { ActivationObservers } from '../../../quantization/calibration/activation-observers.js';
import type { CalibrationSet } from '../../../quantization/calibration/calibration-set.js';
import { observedValues } from '../../../quantization/calibration/observe-batch.js';
import { type FinetuneResult, finetuneParameters } from '../../../quantization/finetuning/finetune-parameters.js';
import { planLayers } from '../../../quantization/plan-layers.js';
import { roundParameters } from '../../../quantization/rounding/round-parameters.js';
import { tinyUnet } from '../../fixtures/tiny-pipeline.js';

/** Settings under which a phase has little or nothing to train, and batches that branches do not divide. */

const DIMS = [3, 12, 12];
const TIMESTEPS = [900, 300];
const TRAJECTORIES = 4;
const INPUTS = { sample: 'sample', timestep: 'timestep', conditioning: null };
/** The tiny UNet has no feed-forward block. */
const ROLE_OF_NO_LAYER = 'feed-forward';

let executor: EngineExecutor;
let calibration: CalibrationSet;
beforeAll(async () => {
  executor = await EngineExecutor.start({ device: 'cpu', threads: 1 });
  calibration = await twoBranches();
});
afterAll(() => executor.close());

/** The tiny UNet's answers to noise; it has no conditioning, so that both branches say the same. */
async function twoBranches(): Promise<CalibrationSet> {
  const runnable = await executor.open(writeModel(tinyUnet()));
  const samples = gaussianTensor(1, 0, [TRAJECTORIES, TIMESTEPS.length, ...DIMS]);
  const rows = TRAJECTORIES * TIMESTEPS.length;
  const timestep = int64(
    [rows],
    Array.from({ length: rows }, (_, row) => TIMESTEPS[row % TIMESTEPS.length] ?? 0),
  );
  const found = await runnable.run({ sample: { ...samples, dims: [rows, ...DIMS] }, timestep });
  const said = asFloat32(found.out_sample as Tensor).data;
  await runnable.release();
  const size = samples.data.length / rows;
  const outputs = gaussianTensor(2, 0, [TRAJECTORIES, TIMESTEPS.length, 2, ...DIMS]);
  for (let row = 0; row < 2 * rows; row += 1) {
    const from = Math.floor(row / 2) * size;
    outputs.data.set(said.subarray(from, from + size), row * size);
  }
  return { timesteps: TIMESTEPS, samples, outputs, conditioning: null, negative: null, stepWeights: [0.5, 1.5] };
}

async function finetuned(input: RecipeInput): Promise<FinetuneResult> {
  const recipe = recipeSchema.parse(input);
  const graph = tinyUnet();
  const shapes = inferShapes(graph, { sample: [2, ...DIMS], timestep: [2] });
  const plan = planLayers({ graph, shapes, recipe, inputs: INPUTS, floatBytes: 1 });
  const observers = new ActivationObservers();
  for (const value of observedValues(plan)) {
    for (const timestep of TIMESTEPS) observers.observe(value, timestep, gaussianTensor(3, timestep, [256]).data);
  }
  const parameters = await roundParameters({ graph, plan, observers, timesteps: TIMESTEPS });
  const settings = recipe.finetuning;
  return finetuneParameters({
    executor,
    graph,
    plan,
    parameters,
    calibration,
    inputs: INPUTS,
    settings,
    guidance: 1.5,
  });
}

const finetuning = (changes: RecipeInput['finetuning']): RecipeInput['finetuning'] => ({
  batchSize: 4,
  validateEvery: 2,
  ...changes,
});

describe('finetuning', () => {
  it('passes over a phase that has nothing to train, and goes on with the next', async () => {
    const { curve, steps } = await finetuned({
      finetuning: finetuning({
        phases: [
          { name: 'nothing', layers: [ROLE_OF_NO_LAYER], steps: 4 },
          { name: 'convolutions', layers: ['convolution'], steps: 2 },
        ],
      }),
    });
    expect(steps).toBe(2);
    expect(curve.map(({ phase }) => phase)).toEqual(['start', 'convolutions']);
  });

  it('trains the tables alone where a phase has no layers', async () => {
    const { curve, steps, validation } = await finetuned({
      activations: { ranges: 'timestep', groupSize: null },
      finetuning: finetuning({ phases: [{ name: 'tables', layers: [ROLE_OF_NO_LAYER], steps: 4 }] }),
    });
    expect(steps).toBe(4);
    expect(new Set(curve.map(({ validation: error }) => error)).size).toBe(curve.length);
    expect(validation.after).toBeLessThanOrEqual(validation.before);
  });

  it('leaves everything as it was when every layer is skipped', async () => {
    const { steps, validation } = await finetuned({
      overrides: [{ layers: '.', skip: true }],
      finetuning: finetuning({ phases: [{ name: 'all', layers: ['convolution', 'first'], steps: 4 }] }),
    });
    expect(steps).toBe(0);
    expect(validation.after).toBe(validation.before);
  });

  it.each([1, 5])('takes batches of %i, which two guidance branches do not divide', async (batchSize) => {
    const { steps, curve } = await finetuned({
      finetuning: finetuning({
        batchSize,
        guidedLossWeight: 0.1,
        phases: [{ name: 'convolutions', layers: ['convolution'], steps: 2 }],
      }),
    });
    expect(steps).toBe(2);
    expect(curve.every(({ validation }) => Number.isFinite(validation))).toBe(true);
  });
});
