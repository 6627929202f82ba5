import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EngineExecutor } from '../../../activities/engine/engine-executor.js';
import { relativeMse } from '../../../evaluation/metrics/relative-mse.js';
import { writeModel } from '../../../models/onnx/model-proto.js';
import { denoiserFeeds } from '../../../models/pipelines/denoiser-feeds.js';
import { asFloat32, concatRows, type Float32Tensor, type Tensor } from '../../../models/tensors/tensor.js';
import { batchOf, type CalibrationSet } from '../../../quantization/calibration/calibration-set.js';
import { bundledRecipe, convertZoo, pipeline, prepareZoo, randomlyCalibrated } from '../quantized-zoo.js';
import { promptSets, zooCalibration } from '../zoo-calibration.js';

/** Σ(ε − ε̃)² / Σε² of the zoo's denoiser on float trajectories, by bits of weights and activations. */
const SETTINGS = { W8A8: [8, 8], W6A6: [6, 6], W4A8: [4, 8], W4A4: [4, 4] } as const;
/** Doubling the grid divides the squared error by 4; two more bits on both sides are worth more than this. */
const TWO_BITS = 4;
/** An error of 1 is what an output of zeros has. */
const USELESS = 0.2;

let executor: EngineExecutor;
const errors: Record<string, number> = {};
const bytes: Record<string, number> = {};

beforeAll(async () => {
  executor = await EngineExecutor.start({ device: 'cpu', threads: 2 });
  const set = await zooCalibration(executor, promptSets(2, 1).calibration, { steps: 20, timesteps: 4 });
  const target = concatRows(set.timesteps.map((_, step) => batchAt(set, step).target));
  for (const [name, [weight, activation]] of Object.entries(SETTINGS)) {
    const prepared = prepareZoo(
      bundledRecipe('w4a4-dynamic', { weights: { bits: weight, range: 'absmax' }, activations: { bits: activation } }),
    );
    const converted = convertZoo(prepared, await randomlyCalibrated(executor, prepared, []));
    const model = writeModel(converted);
    bytes[name] = model.byteLength;
    errors[name] = relativeMse(target, await predictions(model, set));
  }
});
afterAll(() => executor.close());

function batchAt(set: CalibrationSet, step: number) {
  const items = [0, 1].flatMap((branch) => [0, 1].map((trajectory) => ({ trajectory, step, branch })));
  return batchOf(set, items);
}

async function predictions(model: Uint8Array, set: CalibrationSet): Promise<Float32Tensor> {
  const runnable = await executor.open(model);
  const { output } = pipeline.denoiser;
  const found: Float32Tensor[] = [];
  for (const [step, timestep] of set.timesteps.entries()) {
    const feeds = denoiserFeeds(pipeline.denoiser, { ...batchAt(set, step), timestep, classLabels: null });
    found.push(asFloat32((await runnable.run(feeds, [output]))[output] as Tensor));
  }
  await runnable.release();
  return concatRows(found);
}

describe('bits by settings', () => {
  const of = (name: keyof typeof SETTINGS): number => errors[name] ?? Number.NaN;

  it('cost more error the fewer there are', () => {
    expect(of('W8A8') * TWO_BITS).toBeLessThan(of('W6A6'));
    expect(of('W6A6')).toBeLessThan(of('W4A8'));
    expect(of('W4A8')).toBeLessThan(of('W4A4'));
    expect(of('W6A6') * TWO_BITS).toBeLessThan(of('W4A4'));
    expect(of('W4A4')).toBeLessThan(USELESS);
  });

  it('take fewer bytes of weights', () => {
    expect(bytes.W4A4).toBeLessThan(bytes.W8A8 as number);
    expect(bytes.W4A8).toBeLessThan(bytes.W6A6 as number);
  });
});
