import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EngineExecutor } from '../../activities/engine/engine-executor.js';
import { scoreSchema } from '../../contracts/score.js';
import type { Device } from '../../models/executor.js';
import { tinyUnet, writeTinyPipeline } from '../fixtures/tiny-pipeline.js';
import { missingWebgpu } from './engine/webgpu-driver.js';
import { evaluateInShards, tinyEvaluation } from './evaluation-steps.js';
import { perturbed } from './perturbed-unet.js';
import { Bench } from './run-chain.js';

/**
 * A whole evaluation on WebGPU beside the same one on the CPU: sampling, features, layers and activations run there; the engine proves
 * for every session that its nodes did.
 */

const SAMPLES = 8;
/** Decibels of same-seed scores: both pipelines see the same errors of the device (relative 3e-4, see webgpu-chain.test.ts). */
const SAME_SEED_DB = 0.1;
/** Ratio of distances between features, and of relative errors: they are squares of differences that are a hundredth of the signal. */
const RATIO = 1.1;

let bench: Bench;
let missing: string | undefined;

beforeAll(async () => {
  bench = await Bench.open();
  const probe = await EngineExecutor.start({ device: 'webgpu', threads: 1 });
  missing = await missingWebgpu(probe).finally(() => probe.close());
});
afterAll(() => bench.close());

async function evaluatedOn(device: Device) {
  const folders = { candidate: join(bench.folder, 'candidate'), float: join(bench.folder, 'float'), out: bench.folder };
  const spec = await tinyEvaluation(bench.store, folders, SAMPLES);
  const metrics = ['frechet', 'kid'];
  const asked = { ...spec, protocol: { ...spec.protocol, metrics }, compute: { device, threads: 1 } };
  return evaluateInShards(bench, asked, 8);
}

describe('an evaluation on webgpu', () => {
  it('gives the scores that the CPU gives', async (context) => {
    if (missing !== undefined) return context.skip(missing);
    await writeTinyPipeline(join(bench.folder, 'float'));
    await writeTinyPipeline(join(bench.folder, 'candidate'), perturbed(tinyUnet(), 0.02));
    const cpu = await evaluatedOn('cpu');
    const webgpu = await evaluatedOn('webgpu');
    // Pictures of their own, not those of the other device out of the store.
    expect(webgpu.sets.candidate.images).not.toEqual(cpu.sets.candidate.images);
    expect(webgpu.scores.map(({ name }) => name)).toEqual(cpu.scores.map(({ name }) => name));
    for (const [index, score] of webgpu.scores.entries()) {
      expect(scoreSchema.safeParse(score).error).toBeUndefined();
      const [found, expected] = [score.value ?? Number.NaN, cpu.scores[index]?.value ?? Number.NaN];
      if (score.unit === 'dB') expect(Math.abs(found - expected), score.name).toBeLessThan(SAME_SEED_DB);
      else expect(Math.max(found / expected, expected / found), score.name).toBeLessThan(RATIO);
    }
  });
});
