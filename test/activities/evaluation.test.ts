import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { EvaluationSpec } from '../../contracts/evaluation-activities.js';
import { tinyUnet, writeTinyPipeline } from '../fixtures/tiny-pipeline.js';
import { evaluateInShards, tinyEvaluation } from './evaluation-steps.js';
import { perturbed } from './perturbed-unet.js';
import { Bench } from './run-chain.js';

/** Three whole batches and a part of one. */
const SAMPLES = 28;

let bench: Bench;
let spec: EvaluationSpec;
let same: EvaluationSpec;

beforeAll(async () => {
  bench = await Bench.open();
  const [float, candidate] = [join(bench.folder, 'float'), join(bench.folder, 'candidate')];
  await writeTinyPipeline(float);
  await writeTinyPipeline(candidate, perturbed(tinyUnet(), 0.02));
  spec = await tinyEvaluation(bench.store, { candidate, float, out: bench.folder }, SAMPLES);
  same = await tinyEvaluation(bench.store, { candidate: float, float, out: bench.folder }, SAMPLES);
});

afterAll(() => bench.close());

describe('an evaluation in shards', () => {
  it('gives the same scores, to the bit, however many shards there are', async () => {
    const whole = await evaluateInShards(bench, spec, 32);
    const parts = await evaluateInShards(bench, spec, 8);
    expect(whole.sets.candidate.images).toHaveLength(1);
    expect(parts.sets.candidate.images).toHaveLength(4);
    expect(parts.scores).toEqual(whole.scores);
    const byMetric = new Map(whole.scores.map((score) => [`${score.metric} ${score.against}`, score]));
    for (const metric of ['psnr float', 'ssim float', 'latent-sqnr float', 'frechet float', 'kid float']) {
      expect(byMetric.get(metric)?.value, metric).toEqual(expect.any(Number));
      expect(byMetric.get(metric)?.floor, metric).toEqual(expect.any(Number));
    }
    expect(byMetric.get('psnr float')).toMatchObject({ name: `psnr-${SAMPLES}`, n: SAMPLES, interval: 'student-t' });
    expect(byMetric.get('frechet float')?.name).toMatch(/^frechet\[cifar10-resnet@[0-9a-f]{8}\]-28$/);
    const { value, low, high, interval } = byMetric.get('denoiser-relative-mse float') ?? {};
    expect(interval).toBe('bootstrap');
    expect(low).toBeGreaterThan(0);
    expect(low).toBeLessThan(value ?? 0);
    expect(high).toBeGreaterThan(value ?? 0);
  });

  it('goes on in the middle of a shard, and ends with the same pictures', async () => {
    const { prompts, protocol, compute } = spec;
    const { seed, images, timestepPairs } = protocol;
    const sampling = {
      samples: SAMPLES,
      seed: seed + 7,
      steps: 3,
      guidance: 1,
      images,
      trajectories: 28,
      timestepPairs,
    };
    const { pipeline } = await bench.activities.importFolder({ folder: same.candidate });
    const input = { pipeline, prompts, sampling, first: 0, end: SAMPLES, against: null, compute };
    const cause = await bench.interrupted(() => bench.activities.sampleShard(input));
    expect(cause).toMatchObject({ message: 'interrupted by the test' });
    const resumed = await bench.activities.sampleShard(input);
    const other = await Bench.open();
    try {
      await other.activities.importFolder({ folder: same.candidate });
      await other.store.putJson('file', new Array<string>(SAMPLES).fill(''));
      const undisturbed = await other.activities.sampleShard(input);
      expect(resumed).toMatchObject({ images: undisturbed.images, trajectories: undisturbed.trajectories });
    } finally {
      await other.close();
    }
  });

  it('says of a pipeline that broke that it broke, and of latents that nobody kept nothing', async () => {
    const broken = join(bench.folder, 'broken');
    await writeTinyPipeline(broken, perturbed(tinyUnet(), Number.NaN));
    const folders = { candidate: broken, float: same.candidate.path, out: bench.folder };
    const { scores } = await evaluateInShards(bench, await tinyEvaluation(bench.store, folders, SAMPLES), 32);
    for (const metric of ['latent-sqnr', 'trajectory-error', 'denoiser-relative-mse']) {
      const score = scores.find((one) => one.metric === metric);
      expect(score, metric).toMatchObject({ value: null, low: null, interval: null });
      expect(score?.notes.join()).toContain('not finite');
    }
  });

  it('finds no distance between a pipeline and itself', async () => {
    const { scores } = await evaluateInShards(bench, same, 16);
    const value = (metric: string) => scores.find((score) => score.metric === metric)?.value;
    expect(value('frechet')).toBe(0);
    expect(value('lpips')).toBe(0);
    expect(value('ssim')).toBe(1);
    expect(value('denoiser-relative-mse')).toBe(0);
    expect(value('trajectory-error')).toBe(0);
    expect(value('mind')).toBe(0);
  });
});
