import { cp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openStoredPictures } from '../../activities/images/stored-pictures.js';
import type { EvaluationSpec } from '../../contracts/evaluation-activities.js';
import type { Score } from '../../contracts/score.js';
import { readModel, writeModel } from '../../models/onnx/model-proto.js';
import { tinyUnet, writeTinyPipeline } from '../fixtures/tiny-pipeline.js';
import { evaluateInShards, tinyEvaluation } from './evaluation-steps.js';
import { perturbed } from './perturbed-unet.js';
import { Bench } from './run-chain.js';

const TEXT_PIPELINE = fileURLToPath(new URL('../golden/pipelines/sd_text2img', import.meta.url));
const SAMPLES = 24;
/** Pictures whose latents are compared: a shard of the three. */
const COMPARED = 8;

let bench: Bench;
let spec: EvaluationSpec;

beforeAll(async () => {
  bench = await Bench.open();
  const [float, candidate] = [join(bench.folder, 'float'), join(bench.folder, 'candidate')];
  await writeTinyPipeline(float);
  await writeTinyPipeline(candidate, perturbed(tinyUnet(), 0.02));
  spec = await tinyEvaluation(bench.store, { candidate, float, out: bench.folder }, SAMPLES);
});

afterAll(() => bench.close());

const scoreOf = (scores: readonly Score[], metric: string): Score => {
  const found = scores.find((score) => score.metric === metric);
  if (found === undefined) throw new Error(`no ${metric}`);
  return found;
};

/** A protocol of few metrics: what is tested here is how pictures are made and kept. */
const changed = (changes: Partial<EvaluationSpec['protocol']>): EvaluationSpec => ({
  ...spec,
  protocol: { ...spec.protocol, metrics: ['frechet', 'lpips'], ...changes },
});

describe('the settings of a protocol', () => {
  it('pictures stored as PNG files give the scores of packed ones, to the bit', async () => {
    const packed = await evaluateInShards(bench, changed({}), 16);
    const png = await evaluateInShards(bench, changed({ images: 'png' }), 16);
    expect(png.sets.candidate.images).not.toEqual(packed.sets.candidate.images);
    expect(png.scores).toEqual(packed.scores);
    const keys = async (refs: typeof packed.sets.float.images) => (await openStoredPictures(bench.store, refs)).keys;
    expect(await keys(png.sets.float.images)).toEqual(await keys(packed.sets.float.images));
  });

  it('latents of fewer pictures than there are are those of the first ones', async () => {
    const some = await evaluateInShards(bench, changed({ trajectories: COMPARED }), 8);
    expect(some.sets.candidate.trajectories).toHaveLength(3);
    expect(scoreOf(some.scores, 'psnr').n).toBe(SAMPLES);
    const alone = await evaluateInShards(bench, changed({ samples: COMPARED, trajectories: COMPARED }), 8);
    for (const metric of ['latent-sqnr', 'trajectory-error', 'denoiser-relative-mse']) {
      const { value, low, high, name, n } = scoreOf(some.scores, metric);
      expect(scoreOf(alone.scores, metric)).toMatchObject({ value, low, high, name, n });
    }
    expect(scoreOf(some.scores, 'latent-sqnr').n).toBe(COMPARED);
    expect(scoreOf(alone.scores, 'psnr').value).not.toBe(scoreOf(some.scores, 'psnr').value);
    const none = await evaluateInShards(bench, changed({ trajectories: 0 }), 8);
    expect(none.scores.map(({ metric }) => metric)).not.toContain('latent-sqnr');
    expect(scoreOf(none.scores, 'psnr').value).toBe(scoreOf(some.scores, 'psnr').value);
  });
});

describe('a pipeline with text and a VAE', () => {
  let text: EvaluationSpec;

  beforeAll(async () => {
    const candidate = join(bench.folder, 'text-candidate');
    await cp(TEXT_PIPELINE, candidate, { recursive: true });
    const file = join(candidate, 'unet', 'model.onnx');
    const unet = perturbed(readModel(await readFile(file), { where: file }), 0.02);
    await writeFile(file, writeModel(unet));
    const made = await tinyEvaluation(bench.store, { candidate, float: TEXT_PIPELINE, out: bench.folder }, 12);
    const { protocol } = made;
    const sampling = { steps: 3, guidance: 2 };
    text = { ...made, protocol: { ...protocol, metrics: ['frechet', 'lpips'], sampling }, prompts: await promptsOf(0) };
  });

  /** Twelve prompts, each with a number of its own. */
  const promptsOf = (from: number) =>
    bench.store.putJson(
      'file',
      Array.from({ length: 12 }, (_, i) => `photo number ${from + i} of a cat`),
    );

  it('is evaluated with guidance, each picture under its own prompt, however many shards there are', async () => {
    const whole = await evaluateInShards(bench, text, 16);
    const parts = await evaluateInShards(bench, text, 8);
    expect(parts.sets.float.images).toHaveLength(2);
    expect(parts.scores).toEqual(whole.scores);
    expect(scoreOf(whole.scores, 'psnr').value).toBeLessThan(60);
    expect(scoreOf(whole.scores, 'denoiser-relative-mse').value).toBeGreaterThan(0);
    expect(scoreOf(whole.scores, 'denoiser-relative-mse').value).toBeLessThan(1);
  });

  it('gives other pictures under other prompts, and finds the shards of those it knows', async () => {
    const { pipeline } = await bench.activities.importFolder({ folder: text.against ?? text.candidate });
    const { seed, images, timestepPairs } = text.protocol;
    const sampling = { samples: 12, seed, steps: 3, guidance: 2, images, trajectories: 12, timestepPairs };
    const input = { pipeline, sampling, first: 0, end: 8, against: null, compute: text.compute };
    const known = await bench.activities.sampleShard({ ...input, prompts: text.prompts });
    expect(known.reused).toBe(true);
    const other = await bench.activities.sampleShard({ ...input, prompts: await promptsOf(100) });
    expect(other).toMatchObject({ reused: false });
    expect(other.images).not.toEqual(known.images);
  });
});
