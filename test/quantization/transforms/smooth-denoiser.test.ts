import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { EngineExecutor } from '../../../activities/engine/engine-executor.js';
import { LARGEST_DIFFERENCE } from '../../../activities/transform-graph.js';
import type { RecipeInput } from '../../../contracts/recipe.js';
import type { CalibrationItem, CalibrationSet } from '../../../quantization/calibration/calibration-set.js';
import { Validator } from '../../../quantization/finetuning/validator.js';
import { planningInputs } from '../../../quantization/plan-denoiser.js';
import { outputDifference } from '../../../quantization/transforms/output-difference.js';
import { smoothDenoiser } from '../../../quantization/transforms/smooth-denoiser.js';
import { bundledRecipe, type PreparedZoo, pipeline, prepareZoo, randomlyCalibrated } from '../quantized-zoo.js';
import { promptSets, zooCalibration } from '../zoo-calibration.js';

const recipe = bundledRecipe('w4a4-dynamic');
const smoothing: RecipeInput = { ...recipe, transforms: ['split-shortcut', 'smooth'] };

let executor: EngineExecutor;
let calibration: CalibrationSet;
let held: CalibrationSet;
beforeAll(async () => {
  executor = await EngineExecutor.start({ device: 'cpu', threads: 1 });
  const prompts = promptSets(2, 4);
  calibration = await zooCalibration(executor, prompts.calibration, { steps: 6, timesteps: 3 });
  held = await zooCalibration(executor, prompts.evaluation, { steps: 6, timesteps: 3 });
}, 240_000);
afterAll(() => executor.close());

/** Relative error of the network output on prompts that were not calibrated on. */
async function heldBackError(prepared: PreparedZoo): Promise<number> {
  const parameters = await randomlyCalibrated(executor, prepared, held.timesteps);
  const items = Array.from({ length: 24 }, (_, index): CalibrationItem => {
    return { trajectory: index % 4, step: Math.floor(index / 4) % 3, branch: index % 2 };
  });
  const context = { executor, ...prepared, calibration: held, inputs: planningInputs(pipeline.denoiser) };
  const validator = await Validator.open(context, parameters, new Set(), items);
  const error = await validator.error({});
  await validator.release();
  return error;
}

describe('smoothing the bundled denoiser', () => {
  test('leaves the float output as it was, and lowers the error of W4A4 on other prompts', async () => {
    const prepared = prepareZoo(smoothing);
    const given = { executor, ...prepared, denoiser: pipeline.denoiser, calibration, seed: 1, batchSize: 2 };
    const options = { ...given, breathe: async () => undefined };
    const note = await smoothDenoiser(options);
    const [, smoothed = 0, sites = 0] = (/^(\d+) of (\d+) /.exec(note) ?? []).map(Number);
    expect(sites).toBeGreaterThan(60);
    expect(smoothed).toBeGreaterThan(sites / 4);
    expect(await outputDifference(executor, pipeline, prepared.graph)).toBeLessThanOrEqual(LARGEST_DIFFERENCE);
    const [before, after] = [await heldBackError(prepareZoo(recipe)), await heldBackError(prepared)];
    expect(after / before).toBeLessThan(1);
  }, 240_000);
});
