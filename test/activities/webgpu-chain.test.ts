import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EngineExecutor } from '../../activities/engine/engine-executor.js';
import { digestFolder } from '../../activities/store/folder-digest.js';
import type { FinetuneParametersResult } from '../../contracts/activities.js';
import type { ArtifactRef } from '../../contracts/artifact.js';
import { recipeSchema } from '../../contracts/recipe.js';
import type { Score } from '../../contracts/score.js';
import type { RunSpec } from '../../contracts/stages.js';
import type { DenoiserComparison } from '../../evaluation/denoiser-comparison.js';
import { headlineOf } from '../../evaluation/score-headline.js';
import type { Device } from '../../models/executor.js';
import { node } from '../../models/onnx/graph.js';
import { readSafetensors } from '../../models/tensors/safetensors.js';
import type { Tensor } from '../../models/tensors/tensor.js';
import { tinyUnet, writeTinyPipeline } from '../fixtures/tiny-pipeline.js';
import { missingWebgpu } from './engine/webgpu-driver.js';
import { Bench, type Chain, runChain } from './run-chain.js';

/**
 * The whole chain of activities on WebGPU, beside the same chain on the CPU. The engine proves for every session of it that its
 * nodes ran on the device (placement.ts), so a chain that ends without DeviceUnavailable ran there.
 */

const STEPS = 2;
const TRAJECTORIES = 4;
const SAMPLES = 4;

const recipe = recipeSchema.parse({
  name: 'tiny',
  // Tables by timestep: the only ranges that need an observation.
  activations: { ranges: 'timestep', range: 'minmax' },
  sampling: { steps: STEPS },
  calibration: { trajectories: TRAJECTORIES, timesteps: STEPS },
  evaluation: { samples: SAMPLES, timestepPairs: 16 },
  finetuning: {
    batchSize: 4,
    validateEvery: 2,
    phases: [{ name: 'all', layers: ['time-embedding', 'attention-projection', 'convolution'], steps: 3 }],
  },
});

/**
 * Relative error of float results. WGSL's sine may be off by 2⁻¹¹ (and more for large angles such as a timestep's), which the time
 * embedding hands on; measured on SwiftShader: 3e-4 and less, against 1e-6 for what does not see the embedding.
 */
const FLOAT_ERROR = 2e-3;
/** The same in PSNR and SQNR of two unrelated pictures, where it nearly cancels; measured 4e-4 dB. */
const FLOAT_DB = 0.02;
/**
 * Activations that differ in the fourth digit fall on the other side of a rounding boundary once in a hundred 4-bit codes, and a
 * few of them move errors measured on so few pictures: by 3 % and 0.1 dB here.
 */
const ERROR_RATIO = 1.2;
const QUANTIZED_DB = 0.6;
/** The phase trains nine layers, each a weight and its scales. */
const TRAINED_TENSORS = 18;

let bench: Bench;
let missing: string | undefined;
let cpu: Chain;
let webgpu: Chain;

async function specOf(source: string, device: Device): Promise<RunSpec> {
  const { digest } = await digestFolder(source);
  const compute = { device, threads: 1 };
  const out = join(bench.folder, `out-${device}`);
  return { source, sourceDigest: digest, pipelineName: 'tiny', recipe, out, compute, prompts: null };
}

beforeAll(async () => {
  bench = await Bench.open();
  const probe = await EngineExecutor.start({ device: 'webgpu', threads: 1 });
  missing = await missingWebgpu(probe).finally(() => probe.close());
  if (missing !== undefined) return;
  const source = join(bench.folder, 'tiny');
  await writeTinyPipeline(source);
  cpu = await runChain(bench, await specOf(source, 'cpu'));
  webgpu = await runChain(bench, await specOf(source, 'webgpu'));
}, 600_000);
afterAll(() => bench.close());

describe('the activities on webgpu', () => {
  const onWebgpu = (name: string, check: () => Promise<void>): void =>
    it(name, (context) => (missing === undefined ? check() : context.skip(missing)));

  onWebgpu('sample the trajectories that the CPU samples', () => expectAlike('sample.calibration', () => true));

  onWebgpu('observe the ranges that the CPU observes, and round the same weights', async () => {
    await expectAlike('round.parameters', (name) => name.endsWith('/scale'));
    const [expected, found] = await bothTensors('round.parameters');
    for (const [name, value] of expected) {
      if (name.startsWith('weights/')) expect(found.get(name), name).toEqual(value);
    }
  });

  onWebgpu('finetune as the CPU does, and validate better for it', async () => {
    await expectAlike('finetune.parameters', (name) => /weight$|scales?$/.test(name));
    const [before, after] = [
      await tensorsOf(webgpu, 'round.parameters'),
      await tensorsOf(webgpu, 'finetune.parameters'),
    ];
    const trained = [...after].filter(([name, value]) => relativeError(value, before.get(name) as Tensor) > 0);
    expect(trained.length).toBeGreaterThanOrEqual(TRAINED_TENSORS);
    const [expected, found] = [cpu, webgpu].map(({ outcomes }) => outcomes.finetune as FinetuneParametersResult);
    expect(found?.validation.after).toBeLessThan(found?.validation.before ?? 0);
    expectRatio(found?.validation.after, expected?.validation.after, ERROR_RATIO);
    expectRatio(found?.training.after, expected?.training.after, ERROR_RATIO);
  });

  onWebgpu('finetune below ranges that are found at run time, as the CPU does', async () => {
    const expected = await finetunedDynamically('cpu');
    const found = await finetunedDynamically('webgpu');
    expect(found.validation.after).toBeLessThan(found.validation.before);
    expectRatio(found.validation.after, expected.validation.after, ERROR_RATIO);
    expectRatio(found.training.after, expected.training.after, ERROR_RATIO);
  });

  onWebgpu('score the noise floor as the CPU does', async () => {
    const [expected, found] = await bothHeadlines('evaluate-floor.scores');
    expectNear(found.psnrDb, expected.psnrDb, FLOAT_DB);
    expectNear(found.latentSqnrDb, expected.latentSqnrDb, FLOAT_DB);
    expectRatio(found.frechetToFloat, expected.frechetToFloat, ERROR_RATIO);
  });

  onWebgpu('score the shipped folder, its arithmetic in float operators, as the CPU does', async () => {
    const [expected, found] = await bothHeadlines('evaluate.scores');
    expectNear(found.psnrDb, expected.psnrDb, QUANTIZED_DB);
    expectNear(found.latentSqnrDb, expected.latentSqnrDb, QUANTIZED_DB);
    expectRatio(found.denoiserRelativeMse, expected.denoiserRelativeMse, ERROR_RATIO);
    const [own, other] = [await comparisonOf(cpu), await comparisonOf(webgpu)];
    expect([own.arithmetic, other.arithmetic]).toEqual(['shipped', 'shipped-in-float']);
    expect(other.layers.map(({ name }) => name)).toEqual(own.layers.map(({ name }) => name));
    for (const [index, { name, error }] of other.layers.entries()) {
      expectRatio(error, own.layers[index]?.error, ERROR_RATIO, name);
    }
  });

  onWebgpu('fail when the model has an operator that WebGPU lacks, instead of computing it elsewhere', async () => {
    const unet = tinyUnet();
    const [first] = unet.consumersOf('sample');
    if (first === undefined) throw new Error('nothing reads the sample');
    first.inputs = first.inputs.map((input) => (input === 'sample' ? 'rounded' : input));
    unet.insertNodes([node('Round', ['sample'], ['rounded'], { name: 'rounds_the_sample' })], unet.nodes[0]);
    const source = join(bench.folder, 'rounding');
    await writeTinyPipeline(source, unet);
    const spec = await specOf(source, 'webgpu');
    const { pipeline, prompts } = await bench.activities.importPipeline({ spec });
    const sampling = bench.activities.sampleTrajectories({ pipeline, prompts, recipe, compute: spec.compute });
    await expect(sampling).rejects.toMatchObject({
      type: 'DeviceUnavailable',
      message: expect.stringContaining("Round 'rounds_the_sample' on CPUExecutionProvider"),
    });
  });
});

/** Finetunes the same pipeline from the CPU's calibration with the default kind of activation ranges. */
async function finetunedDynamically(device: Device): Promise<FinetuneParametersResult> {
  const dynamic = recipeSchema.parse({ ...recipe, activations: { ranges: 'dynamic' } });
  const [pipeline, prompts] = [refOf(cpu, 'import.pipeline'), refOf(cpu, 'import.prompts')];
  const [graph, stats] = [refOf(cpu, 'transform.graph'), refOf(cpu, 'observe.stats')];
  const calibration = refOf(cpu, 'sample.calibration');
  const { activities } = bench;
  const { plan } = await activities.planQuantization({ pipeline, prompts, recipe: dynamic });
  const { parameters } = await activities.roundWeights({ graph, plan, stats, recipe: dynamic });
  const compute = { device, threads: 1 };
  return activities.finetuneParameters({ graph, plan, calibration, parameters, recipe: dynamic, compute });
}

async function expectAlike(artifact: string, isCompared: (name: string) => boolean): Promise<void> {
  const [expected, found] = await bothTensors(artifact);
  expect([...found.keys()]).toEqual([...expected.keys()]);
  for (const [name, value] of expected) {
    if (isCompared(name)) expect(relativeError(found.get(name) as Tensor, value), name).toBeLessThan(FLOAT_ERROR);
  }
}

function expectRatio(
  found: number | null | undefined,
  expected: number | null | undefined,
  limit: number,
  name = '',
): void {
  const ratio = (found ?? Number.NaN) / (expected ?? Number.NaN);
  expect(ratio, name).toBeLessThan(limit);
  expect(1 / ratio, name).toBeLessThan(limit);
}

function expectNear(found: number | null, expected: number | null, limit: number): void {
  expect(Math.abs((found ?? Number.NaN) - (expected ?? Number.NaN))).toBeLessThan(limit);
}

async function bothTensors(name: string): Promise<[expected: Map<string, Tensor>, found: Map<string, Tensor>]> {
  return [await tensorsOf(cpu, name), await tensorsOf(webgpu, name)];
}

async function bothHeadlines(name: string): Promise<[expected: Headline, found: Headline]> {
  return [await headlineIn(cpu, name), await headlineIn(webgpu, name)];
}

async function tensorsOf(chain: Chain, name: string): Promise<Map<string, Tensor>> {
  return readSafetensors(await bench.store.get(refOf(chain, name))).tensors;
}

type Headline = ReturnType<typeof headlineOf>;

async function headlineIn(chain: Chain, name: string): Promise<Headline> {
  return headlineOf((await bench.store.getJson(refOf(chain, name))) as Score[]);
}

async function comparisonOf(chain: Chain): Promise<DenoiserComparison> {
  return (await bench.store.getJson(refOf(chain, 'evaluate.comparison'))) as DenoiserComparison;
}

function refOf(chain: Chain, name: string): ArtifactRef {
  const ref = chain.artifacts[name];
  if (ref === undefined) throw new Error(`the chain has no ${name}`);
  return ref;
}

/** √(Σ(a − b)² / Σb²); 0 for two tensors of zeros. */
function relativeError(a: Tensor, b: Tensor): number {
  let error = 0;
  let energy = 0;
  for (const [index, value] of b.data.entries()) {
    error += (Number(a.data[index]) - Number(value)) ** 2;
    energy += Number(value) ** 2;
  }
  return error === 0 ? 0 : Math.sqrt(error / energy);
}
