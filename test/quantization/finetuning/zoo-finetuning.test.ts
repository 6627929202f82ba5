import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EngineExecutor } from '../../../activities/engine/engine-executor.js';
import type { FinetuningPhase } from '../../../contracts/recipe.js';
import { writeModel } from '../../../models/onnx/model-proto.js';
import { readSafetensors, writeSafetensors } from '../../../models/tensors/safetensors.js';
import { bytesFromTensor, type Tensor } from '../../../models/tensors/tensor.js';
import { ActivationObservers } from '../../../quantization/calibration/activation-observers.js';
import type { CalibrationSet } from '../../../quantization/calibration/calibration-set.js';
import { observations } from '../../../quantization/calibration/observations.js';
import { observationGraph, observeBatch, observedValues } from '../../../quantization/calibration/observe-batch.js';
import {
  type FinetuneOptions,
  type FinetuneResult,
  finetuneParameters,
} from '../../../quantization/finetuning/finetune-parameters.js';
import {
  checkpointFromState,
  type FinetuningState,
  stateFromCheckpoint,
} from '../../../quantization/finetuning/finetuning-state.js';
import { planningInputs } from '../../../quantization/plan-denoiser.js';
import { type QuantizedParameters, tensorsFromParameters } from '../../../quantization/quantized-parameters.js';
import { roundParameters } from '../../../quantization/rounding/round-parameters.js';
import { bundledRecipe, type PreparedZoo, pipeline, prepareZoo } from '../quantized-zoo.js';
import { GUIDANCE, promptSets, zooCalibration } from '../zoo-calibration.js';

/** The zoo's denoiser under the default recipe, on four prompts and four timesteps: small, but every part is the real one. */

const PROMPTS = 4;
const TIMESTEPS = 4;
const ROLES = ['time-embedding', 'attention-projection'] as const;
/** One epoch: three training prompts, four timesteps, two pairs a step. */
const EPOCH = 6;

let executor: EngineExecutor;
let prepared: PreparedZoo;
let calibration: CalibrationSet;
let parameters: QuantizedParameters;

beforeAll(async () => {
  executor = await EngineExecutor.start({ device: 'cpu', threads: 2 });
  calibration = await zooCalibration(executor, promptSets(PROMPTS, 1).calibration, { steps: 10, timesteps: TIMESTEPS });
  prepared = prepareZoo(bundledRecipe('w4a4', { weights: { range: 'absmax' }, activations: { range: 'minmax' } }));
  parameters = await calibrated();
});
afterAll(() => executor.close());

async function calibrated(): Promise<QuantizedParameters> {
  const { graph, plan } = prepared;
  const observers = new ActivationObservers();
  const values = observedValues(plan);
  const runnable = await executor.open(writeModel(observationGraph(graph, values)));
  const context = { denoiser: pipeline.denoiser, set: calibration, wanted: observations(plan) };
  for (const step of calibration.timesteps.keys()) {
    const items = [0, 1].flatMap((branch) => [0, 1, 2, 3].map((trajectory) => ({ trajectory, step, branch })));
    await observeBatch(runnable, context, items, observers);
  }
  await runnable.release();
  return roundParameters({ graph, plan, observers, timesteps: calibration.timesteps });
}

function finetune(
  phases: readonly Partial<FinetuningPhase>[],
  more: Pick<FinetuneOptions, 'resume' | 'onStep'> = {},
): Promise<FinetuneResult> {
  const settings = prepared.recipe.finetuning;
  const first = settings.phases[0] as FinetuningPhase;
  return finetuneParameters({
    executor,
    ...prepared,
    parameters,
    calibration,
    inputs: planningInputs(pipeline.denoiser),
    guidance: GUIDANCE,
    settings: {
      ...settings,
      batchSize: 4,
      validateEvery: 3,
      validationFraction: 0.25,
      phases: phases.map((phase) => ({ ...first, layers: [...ROLES], ...phase })),
    },
    ...more,
  });
}

/** Layers whose weights, biases or scales differ. */
function changedLayers(after: QuantizedParameters): string[] {
  const [was, is] = [tensorsFromParameters(parameters), tensorsFromParameters(after)];
  const changed = [...is].filter(([name, value]) => !Buffer.from(bytes(value)).equals(bytes(was.get(name))));
  const layers = changed.map(([name]) => name.split('/')).filter(([room]) => room === 'weights');
  return [...new Set(layers.map(([, layer]) => layer ?? ''))];
}

function bytes(value: Tensor | undefined): Uint8Array {
  return value === undefined ? new Uint8Array() : bytesFromTensor(value);
}

/** Everything but the parameters, and those by the digest of their bytes: comparing millions of numbers one by one is slow. */
function comparable({ parameters: found, ...rest }: FinetuneResult): object {
  return { ...rest, parameters: digestOf(found) };
}

function digestOf(found: QuantizedParameters): string {
  return createHash('sha256')
    .update(writeSafetensors(tensorsFromParameters(found)))
    .digest('hex');
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

describe('finetuning the zoo denoiser', () => {
  it('lowers loss and held-back error, and changes the layers of its phase and the tables only', async () => {
    const losses: number[] = [];
    const { curve, ...result } = await finetune([{ name: 'some', steps: 3 * EPOCH }], {
      onStep: async ({ loss }) => void losses.push(loss),
    });
    expect(losses).toHaveLength(3 * EPOCH);
    expect(mean(losses.slice(-EPOCH))).toBeLessThan(mean(losses.slice(0, EPOCH)));
    expect(result.training.after).toBeLessThan(result.training.before);
    expect(result.validation.after).toBeLessThan(result.validation.before);
    expect(result.validation.after).toBe(Math.min(...curve.map(({ validation }) => validation)));
    const trained = prepared.plan.layers.filter(({ role }) => (ROLES as readonly string[]).includes(role));
    const names = trained.map(({ name }) => name);
    expect(new Set(changedLayers(result.parameters))).toEqual(new Set(names));
    expect(result.parameters.activations).not.toEqual(parameters.activations);
  });

  it('goes on from a checkpoint as if nothing had happened', async () => {
    const phases = [
      { name: 'one', steps: 4, layers: ['time-embedding' as const] },
      { name: 'two', steps: 4 },
    ];
    const checkpoints: { tensors: Uint8Array; done: number }[] = [];
    const undisturbed = await finetune(phases, {
      onStep: async ({ done }, snapshot) => {
        if (done !== 2 && done !== 7) return;
        const { tensors, metadata } = checkpointFromState(await snapshot());
        checkpoints.push({ tensors: writeSafetensors(tensors, metadata), done });
      },
    });
    expect(checkpoints.map(({ done }) => done)).toEqual([2, 7]);
    for (const { tensors, done } of checkpoints) {
      const file = readSafetensors(tensors);
      const steps: number[] = [];
      const resume: FinetuningState = stateFromCheckpoint(file.tensors, file.metadata);
      const resumed = await finetune(phases, { resume, onStep: async (progress) => void steps.push(progress.done) });
      expect(steps[0]).toBe(done + 1);
      expect(comparable(resumed)).toEqual(comparable(undisturbed));
    }
  });

  it('ships what it started with when nothing validates better', async () => {
    const result = await finetune([{ name: 'absurd', steps: 4, learningRateWeights: 50, learningRateScales: 0.5 }]);
    expect(result.curve.length).toBeGreaterThan(1);
    for (const { validation } of result.curve.slice(1)) expect(validation).toBeGreaterThan(result.validation.before);
    expect(result.validation.after).toBe(result.validation.before);
    expect(result.training.after).toBe(result.training.before);
    expect(digestOf(result.parameters)).toBe(digestOf(parameters));
  });

  it('says so when the loss is no longer a number', async () => {
    const phase = { name: 'exploding', steps: 4, learningRateWeights: 1, learningRateScales: 1e38 };
    await expect(finetune([phase])).rejects.toMatchObject({ kind: 'NonFiniteLoss' });
  });
});
