import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EngineExecutor } from '../../../activities/engine/engine-executor.js';
import { recipeSchema } from '../../../contracts/recipe.js';
import type { Resident } from '../../../models/executor.js';
import { writeModel } from '../../../models/onnx/model-proto.js';
import { readSafetensors, writeSafetensors } from '../../../models/tensors/safetensors.js';
import { float32, type Tensor, zeros } from '../../../models/tensors/tensor.js';
import type { CalibrationSet } from '../../../quantization/calibration/calibration-set.js';
import { type FinetuneOptions, finetuneParameters } from '../../../quantization/finetuning/finetune-parameters.js';
import { calibrationFeeds, trainingItems } from '../../../quantization/finetuning/finetuning-data.js';
import { checkpointFromState, stateFromCheckpoint } from '../../../quantization/finetuning/finetuning-state.js';
import { selectedLayers } from '../../../quantization/finetuning/selected-layers.js';
import {
  buildTrainingGraph,
  TRAINING_INPUTS,
  type TrainingMemory,
} from '../../../quantization/finetuning/training-graph.js';
import { planningInputs } from '../../../quantization/plan-denoiser.js';
import { type QuantizedParameters, tensorsFromParameters } from '../../../quantization/quantized-parameters.js';
import { bundledRecipe, type PreparedZoo, pipeline, prepareZoo, randomlyCalibrated } from '../quantized-zoo.js';
import { GUIDANCE, promptSets, zooCalibration } from '../zoo-calibration.js';

/** What finetuning gives up for memory, on the zoo's denoiser under the default recipe. */

const NOTHING: TrainingMemory = { recompute: 'none', savedActivations: 'float32', optimizerState: 'float32' };
const ROLES = ['time-embedding', 'attention-projection'] as const;
const BATCH = 4;
/** A recomputed 4-bit code may fall on the other side of a rounding boundary where the runtime fuses a copy otherwise. */
const RECOMPUTED_COSINE = 0.9999;
const EIGHT_BIT_COSINE = 0.99;

let executor: EngineExecutor;
let prepared: PreparedZoo;
let calibration: CalibrationSet;
let parameters: QuantizedParameters;

beforeAll(async () => {
  executor = await EngineExecutor.start({ device: 'cpu', threads: 1 });
  calibration = await zooCalibration(executor, promptSets(4, 1).calibration, { steps: 4, timesteps: 2 });
  prepared = prepareZoo(bundledRecipe('w4a4', { weights: { range: 'absmax' }, activations: { range: 'minmax' } }));
  parameters = await randomlyCalibrated(executor, prepared, calibration.timesteps);
});
afterAll(() => executor.close());

/** Adam's first moments after one step, (1 − β₁) times the gradients, of all weights together. */
async function gradientOf(memory: TrainingMemory): Promise<{ gradient: Float32Array; loss: number; nodes: number }> {
  const inputs = planningInputs(pipeline.denoiser);
  const { graph, trainables, loss, updates } = buildTrainingGraph({
    ...prepared,
    parameters,
    inputs,
    sampleDims: [BATCH, ...calibration.samples.dims.slice(2)],
    conditioningDims: [BATCH, ...(calibration.conditioning?.dims.slice(1) ?? [])],
    trainedLayers: selectedLayers(prepared.plan, [...ROLES]),
    layerLossWeight: 1,
    outputLossWeight: 2,
    guided: { scale: GUIDANCE, weight: 1 },
    memory,
  });
  const feeds: Record<string, Tensor | Resident> = {
    ...calibrationFeeds(calibration, trainingItems(calibration, [0, 1, 2, 3], BATCH, 0, 1), inputs, graph),
  };
  for (const { name, initial } of trainables) feeds[name] = initial;
  for (const { name, type, shape } of graph.inputs) feeds[name] ??= zeros(type as 'float32', (shape ?? []).map(Number));
  feeds[TRAINING_INPUTS.step] = float32([], [1]);
  const weights = trainables.filter(({ kind }) => kind === 'weight');
  const moments = weights.map(({ name }) => updates.get(`${name}.m`) ?? '');
  const runnable = await executor.open(writeModel(graph));
  const results = await runnable.run(feeds, [loss, ...moments]);
  await runnable.release();
  const gradient = moments.flatMap((name) => Array.from(results[name]?.data as Float32Array));
  return { gradient: Float32Array.from(gradient), loss: results[loss]?.data[0] as number, nodes: graph.nodes.length };
}

function cosine(a: Float32Array, b: Float32Array): number {
  const dot = (x: Float32Array, y: Float32Array) => x.reduce((sum, value, at) => sum + value * (y[at] ?? 0), 0);
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
}

function finetune(memory: TrainingMemory, more: Pick<FinetuneOptions, 'resume' | 'onStep'> = {}) {
  const settings = prepared.recipe.finetuning;
  const phase = { ...settings.phases[0], name: 'short', layers: [...ROLES], steps: 4 };
  return finetuneParameters({
    executor,
    ...prepared,
    parameters,
    calibration,
    inputs: planningInputs(pipeline.denoiser),
    guidance: GUIDANCE,
    settings: recipeSchema.shape.finetuning.parse({
      ...settings,
      ...memory,
      batchSize: BATCH,
      validateEvery: 2,
      validationFraction: 0.25,
      phases: [phase],
    }),
    ...more,
  });
}

function bytesOf(found: QuantizedParameters): Buffer {
  return Buffer.from(writeSafetensors(tensorsFromParameters(found)));
}

describe('memory settings of finetuning', () => {
  it('point the gradients where exact ones point', async () => {
    const exact = await gradientOf(NOTHING);
    const again = await gradientOf({ ...NOTHING, recompute: 'blocks' });
    expect(again.nodes).toBeGreaterThan(exact.nodes);
    expect(Math.abs(again.loss / exact.loss - 1)).toBeLessThan(1 - RECOMPUTED_COSINE);
    expect(cosine(again.gradient, exact.gradient)).toBeGreaterThan(RECOMPUTED_COSINE);
    const eight = await gradientOf({ ...NOTHING, savedActivations: 'int8' });
    expect(cosine(eight.gradient, exact.gradient)).toBeGreaterThan(EIGHT_BIT_COSINE);
    expect(cosine(eight.gradient, exact.gradient)).toBeLessThan(1 - 1e-7);
    const both = await gradientOf({ ...NOTHING, recompute: 'blocks', savedActivations: 'int8' });
    expect(cosine(both.gradient, exact.gradient)).toBeGreaterThan(EIGHT_BIT_COSINE);
  });

  it('finetune from a checkpoint with 8-bit state as if nothing had happened, and lower the error', async () => {
    const memory: TrainingMemory = { recompute: 'blocks', savedActivations: 'int8', optimizerState: 'fp8' };
    const checkpoints: Uint8Array[] = [];
    const undisturbed = await finetune(memory, {
      onStep: async ({ done }, snapshot) => {
        if (done !== 2) return;
        const { tensors, metadata } = checkpointFromState(await snapshot());
        checkpoints.push(writeSafetensors(tensors, metadata));
      },
    });
    expect(undisturbed.training.after).toBeLessThan(undisturbed.training.before);
    const file = readSafetensors(checkpoints[0] ?? new Uint8Array());
    const codes = [...file.tensors].filter(([, value]) => value.type === 'uint8');
    expect(codes.length).toBeGreaterThan(0);
    const resumed = await finetune(memory, { resume: stateFromCheckpoint(file.tensors, file.metadata) });
    expect(Buffer.compare(bytesOf(resumed.parameters), bytesOf(undisturbed.parameters))).toBe(0);
    expect(resumed.curve).toEqual(undisturbed.curve);
  });
});
