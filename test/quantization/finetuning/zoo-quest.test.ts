import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { EngineExecutor } from '../../../activities/engine/engine-executor.js';
import type { RecipeInput } from '../../../contracts/recipe.js';
import { writeModel } from '../../../models/onnx/model-proto.js';
import { bytesFromTensor } from '../../../models/tensors/tensor.js';
import { ActivationObservers } from '../../../quantization/calibration/activation-observers.js';
import type { CalibrationSet } from '../../../quantization/calibration/calibration-set.js';
import { observations } from '../../../quantization/calibration/observations.js';
import { observationGraph, observeBatch, observedValues } from '../../../quantization/calibration/observe-batch.js';
import { type FinetuneResult, finetuneParameters } from '../../../quantization/finetuning/finetune-parameters.js';
import { selectedLayers } from '../../../quantization/finetuning/selected-layers.js';
import { planningInputs } from '../../../quantization/plan-denoiser.js';
import type { QuantizedParameters } from '../../../quantization/quantized-parameters.js';
import { roundParameters } from '../../../quantization/rounding/round-parameters.js';
import { type PreparedZoo, pipeline, prepareZoo } from '../quantized-zoo.js';
import { GUIDANCE, promptSets, zooCalibration } from '../zoo-calibration.js';

/** The recipe quest on four prompts and four timesteps with a few of its steps: small, but every part is the real one. */

const PROMPTS = 4;
const TIMESTEPS = 4;
/** Of each stage; one epoch has 6: three training prompts, four timesteps, two pairs a step. */
const STEPS = 6;

let executor: EngineExecutor;
let calibration: CalibrationSet;
beforeAll(async () => {
  executor = await EngineExecutor.start({ device: 'cpu', threads: 1 });
  calibration = await zooCalibration(executor, promptSets(PROMPTS, 1).calibration, { steps: 10, timesteps: TIMESTEPS });
});
afterAll(() => executor.close());

function quest(activations: RecipeInput['activations'], finetuning: RecipeInput['finetuning']): PreparedZoo {
  const file = new URL('../../../quantization/recipes/quest.yaml', import.meta.url);
  const recipe = parse(readFileSync(file, 'utf8')) as RecipeInput;
  return prepareZoo({
    ...recipe,
    // Searches over scales take longer than everything else here.
    weights: { ...recipe.weights, range: 'absmax' },
    activations: { ...recipe.activations, range: 'minmax', ...activations },
    finetuning: {
      ...recipe.finetuning,
      batchSize: 4,
      // The paper's loss, which is what validation measures.
      guidedLossWeight: 0,
      validateEvery: STEPS / 2,
      validationFraction: 0.25,
      phases: (recipe.finetuning?.phases ?? []).map((phase) => ({ ...phase, steps: STEPS })),
      ...finetuning,
    },
  });
}

async function rounded({ graph, plan }: PreparedZoo): Promise<QuantizedParameters> {
  const observers = new ActivationObservers();
  const runnable = await executor.open(writeModel(observationGraph(graph, observedValues(plan))));
  const context = { denoiser: pipeline.denoiser, set: calibration, wanted: observations(plan) };
  for (const step of calibration.timesteps.keys()) {
    const items = [0, 1].flatMap((branch) => [0, 1, 2, 3].map((trajectory) => ({ trajectory, step, branch })));
    await observeBatch(runnable, context, items, observers);
  }
  await runnable.release();
  return roundParameters({ graph, plan, observers, timesteps: calibration.timesteps });
}

function finetune(prepared: PreparedZoo, parameters: QuantizedParameters): Promise<FinetuneResult> {
  const inputs = planningInputs(pipeline.denoiser);
  const settings = prepared.recipe.finetuning;
  return finetuneParameters({ executor, ...prepared, parameters, calibration, inputs, guidance: GUIDANCE, settings });
}

function changed<Part extends 'weights' | 'activations'>(
  part: Part,
  before: QuantizedParameters,
  after: QuantizedParameters,
): string[] {
  const bytesOf = (one: object | undefined): Buffer[] =>
    Object.values(one ?? {})
      .flatMap((value) => (value !== null && 'data' in value ? [bytesFromTensor(value)] : []))
      .map((bytes) => Buffer.from(bytes));
  return [...after[part].keys()].filter(
    (name) =>
      Buffer.compare(Buffer.concat(bytesOf(before[part].get(name))), Buffer.concat(bytesOf(after[part].get(name)))) !==
      0,
  );
}

describe('quest on the zoo denoiser', () => {
  it('lowers the held-back error in both stages, by layers of its selectors and ranges of every timestep', async () => {
    const prepared = quest({}, {});
    const start = await rounded(prepared);
    const { parameters, curve, validation } = await finetune(prepared, start);
    const best = (phase: string): number =>
      Math.min(...curve.filter((point) => point.phase === phase).map((point) => point.validation));
    const [first, second] = prepared.recipe.finetuning.phases.map(({ name }) => best(name)) as [number, number];
    expect(first).toBeLessThan(validation.before);
    expect(second).toBeLessThan(first);
    expect(validation.after).toBe(second);
    const selected = prepared.recipe.finetuning.phases.flatMap(({ layers }) => [
      ...selectedLayers(prepared.plan, layers),
    ]);
    expect(new Set(changed('weights', start, parameters))).toEqual(new Set(selected));
    const tables = [...parameters.activations.values()].map(({ scale }) => scale.dims);
    expect(new Set(tables.map(String))).toEqual(new Set([String([TIMESTEPS])]));
    expect(changed('activations', start, parameters).length).toBe(parameters.activations.size);
  });

  it('also with a range per channel and the trust gradient', async () => {
    const phases = [
      { name: 'feed-forward', layers: ['feed-forward' as const], steps: STEPS, learningRateWeights: 5e-3 },
    ];
    const prepared = quest({ granularity: 'channel' }, { gradient: 'trust', phases });
    const start = await rounded(prepared);
    const { parameters, validation } = await finetune(prepared, start);
    expect(validation.after).toBeLessThan(validation.before);
    const channels = [...parameters.activations.values()].filter(({ scale }) => scale.dims.length === 2);
    expect(channels.length).toBeGreaterThan(60);
    expect(changed('activations', start, parameters).length).toBe(parameters.activations.size);
  });
});
