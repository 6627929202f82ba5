import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { protocolDigest } from '../../activities/protocol-digest.js';
import { digestFolder } from '../../activities/store/folder-digest.js';
import { loadPipeline } from '../../activities/stored-pipeline.js';
import type { ArtifactRef } from '../../contracts/artifact.js';
import { type Recipe, recipeSchema } from '../../contracts/recipe.js';
import type { Score } from '../../contracts/score.js';
import type { DenoiserComparison } from '../../evaluation/denoiser-comparison.js';
import { npyFromTensor } from '../../models/tensors/npy.js';
import { gaussianTensor } from '../../models/tensors/random.js';
import { QuantizationEvaluations } from '../../workflows/evaluate-quantization.js';
import { tinyUnet, writeTinyPipeline } from '../fixtures/tiny-pipeline.js';
import { evaluateInShards, tinyEvaluation } from './evaluation-steps.js';
import { perturbed } from './perturbed-unet.js';
import { Bench } from './run-chain.js';

/** Enough for all metrics, in whole batches. */
const SAMPLES = 56;
const compute = { device: 'cpu', threads: 1 } as const;

let bench: Bench;
let pipeline: ArtifactRef;
let candidate: ArtifactRef;
let prompts: ArtifactRef;

beforeAll(async () => {
  bench = await Bench.open();
  const [float, quantized] = [join(bench.folder, 'float'), join(bench.folder, 'candidate')];
  await writeTinyPipeline(float);
  await writeTinyPipeline(quantized, perturbed(tinyUnet(), 0.02));
  pipeline = await imported(float);
  candidate = await imported(quantized);
  const evaluation = new Array<string>(SAMPLES).fill('');
  prompts = await bench.store.putJson('file', { calibration: [''], evaluation });
});
afterAll(() => bench.close());

async function imported(path: string): Promise<ArtifactRef> {
  const { digest } = await digestFolder(path);
  return (await bench.activities.importFolder({ folder: { path, digest, name: 'tiny' } })).pipeline;
}

function recipeOf(samples: number): Recipe {
  const evaluation = { samples, timestepPairs: 16, seed: 5 };
  return recipeSchema.parse({ name: 'tiny', sampling: { steps: 3, guidance: 1 }, evaluation });
}

const json = async <T>(ref: ArtifactRef): Promise<T> => (await bench.store.getJson(ref)) as T;

describe('the evaluations of a quantization', () => {
  it('give the scores that the evaluation of a folder gives under their protocol', async () => {
    const recipe = recipeOf(SAMPLES);
    const told: string[] = [];
    const evaluations = new QuantizationEvaluations(bench.activities, {
      ...{ pipeline, prompts, recipe, compute, finetunes: false },
    });
    const floor = await evaluations.floor((summary) => told.push(summary));
    const shipped = await evaluations.quantized('evaluate', candidate, (summary) => told.push(summary));
    expect(told).toEqual([
      ...['0 of 2 shards', '0 of 2 shards', '1 of 2 shards', '1 of 2 shards', '2 of 2 shards', 'scoring'],
      ...['0 of 1 shards', '0 of 1 shards', '1 of 1 shards', 'comparing denoisers', 'scoring'],
    ]);
    const folders = { candidate: join(bench.folder, 'candidate'), float: join(bench.folder, 'float') };
    const spec = await tinyEvaluation(bench.store, { ...folders, out: bench.folder }, SAMPLES);
    const { settings, texts, extractor, protocolDigest } = await bench.activities.planEvaluation({
      ...{ pipeline, prompts, recipe },
    });
    const own = { ...spec, protocol: settings, protocolDigest, extractor, prompts: texts };
    const { scores } = await evaluateInShards(bench, own, 8);
    expect(await json(shipped.scores)).toEqual(scores);
    const metrics = scores.map(({ metric }) => metric);
    for (const metric of ['lpips', 'sfid', 'kid', 'precision', 'mind', 'visual-dna']) expect(metrics).toContain(metric);
    const psnr = scores.find(({ metric }) => metric === 'psnr');
    expect(shipped.headline).toMatchObject({ label: 'quantized', psnrDb: psnr?.value });
    expect(floor.headline).toMatchObject({ psnrDb: psnr?.floor, denoiserRelativeMse: null });
    expect(shipped.summary).toMatch(/^PSNR \d+\.\d\d dB, SSIM 0\.\d{3}, denoiser error \d+\.\d\d % \(n = 56\)$/);
  });

  it('compare layers of the shipped pipeline alone, and count few calls of them', async () => {
    const recipe = recipeOf(16);
    const run = { pipeline, prompts: await promptsOf(16), recipe, compute, finetunes: true };
    const evaluations = new QuantizationEvaluations(bench.activities, run);
    await evaluations.floor(() => undefined);
    const before = await evaluations.quantized('evaluate-before', candidate, () => undefined);
    const shipped = await evaluations.quantized('evaluate', candidate, () => undefined);
    const [one, two] = [
      await json<DenoiserComparison>(before.comparison),
      await json<DenoiserComparison>(shipped.comparison),
    ];
    expect(one).toMatchObject({ denoiserRelativeMse: two.denoiserRelativeMse, layers: [], drift: null });
    expect(two.layers.length).toBeGreaterThan(0);
    expect(two.drift?.layers).toEqual(two.layerTimesteps.layers);
    expect(before.headline).toEqual({ ...shipped.headline, label: 'before finetuning' });
    // Few pictures: of the metrics of sets, the one that stands in tables.
    const metrics = (await json<Score[]>(shipped.scores)).map(({ metric }) => metric);
    expect(metrics).toContain('frechet');
    expect(metrics).not.toContain('kid');
  });
});

async function promptsOf(samples: number): Promise<ArtifactRef> {
  return bench.store.putJson('file', { calibration: [''], evaluation: new Array<string>(samples).fill('') });
}

describe('planning the evaluations', () => {
  it('says the recipe as a protocol whose digest is that of evaluate', async () => {
    const recipe = recipeOf(SAMPLES);
    const planned = await bench.activities.planEvaluation({ pipeline, prompts, recipe });
    expect(planned.settings).toMatchObject({
      ...{ samples: SAMPLES, seed: 5, timestepPairs: 16, sampling: { steps: 3, guidance: 1 } },
      ...{ extractor: 'cifar10-resnet', resize: 'extractor' },
    });
    const { digest, ...settings } = await json<Record<string, unknown>>(planned.protocol);
    expect(settings).toEqual(planned.settings);
    const { texts, extractor } = planned;
    const loaded = await loadPipeline(bench.store, pipeline);
    expect(digest).toBe(protocolDigest(planned.settings, extractor, texts.digest, loaded));
    expect(planned.reference).toBeNull();
  });

  it('takes the reference that a folder brings, and refuses one of another extractor', async () => {
    const folder = join(bench.folder, 'own-reference');
    await writeTinyPipeline(folder);
    await mkdir(join(folder, 'reference'));
    await writeFile(join(folder, 'reference', 'features.npy'), features(128));
    const own = await bench.activities.planEvaluation({
      pipeline: await imported(folder),
      prompts,
      recipe: recipeOf(8),
    });
    expect(own.reference?.kind).toBe('feature-set');
    await writeFile(join(folder, 'reference', 'features.npy'), features(64));
    const other = { pipeline: await imported(folder), prompts, recipe: recipeOf(8) };
    await expect(bench.activities.planEvaluation(other)).rejects.toThrow(/\[12, 64\].*\[pictures, 128\]/s);
  });
});

function features(d: number): Uint8Array {
  return npyFromTensor(gaussianTensor(1, d, [12, d]));
}
