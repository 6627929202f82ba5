import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { CheckpointPace } from '../../activities/checkpoint-pace.js';
import { oneAtATime } from '../../activities/one-at-a-time.js';
import type { ArtifactRef } from '../../contracts/artifact.js';
import type { RecipeInput } from '../../contracts/recipe.js';
import type { RunSpec } from '../../contracts/stages.js';
import type { Block } from '../../quantization/rounding/reconstruction/cut-blocks.js';
import { type ReconstructionInput, reconstructBlocks } from '../../workflows/reconstruct-blocks.js';
import { writeTinyPipeline } from '../fixtures/tiny-pipeline.js';
import { Bench, tinySpec } from './run-chain.js';

/** The stage `reconstruct` on the tiny pipeline: two waves, every way of training at once, interrupted and not. */

const RECONSTRUCTION = {
  enabled: true,
  ...{ steps: 30, samples: 24, batchSize: 8, wave: 5 },
  ...{ scales: 'joint' as const, inputMix: 0.5, activationDrop: 0.5, innerLossWeight: 0.8 },
};

let bench: Bench;
let spec: RunSpec;
let input: ReconstructionInput;
beforeAll(async () => {
  bench = await Bench.open();
  const folder = join(bench.folder, 'tiny');
  await writeTinyPipeline(folder);
  spec = await specOf(folder, RECONSTRUCTION);
  input = await rounded(bench, spec);
});
afterAll(() => bench.close());

function specOf(folder: string, reconstruction: RecipeInput['reconstruction']): Promise<RunSpec> {
  const change = {
    weights: { granularity: 'channel' as const },
    activations: { ranges: 'timestep' as const, groupSize: null },
    finetuning: { enabled: false },
  };
  return tinySpec(join(folder, '..', 'out'), { ...change, reconstruction }, folder);
}

/** Every stage in front of reconstruction. */
async function rounded({ activities }: Bench, { recipe, compute, ...rest }: RunSpec): Promise<ReconstructionInput> {
  const { pipeline, prompts } = await activities.importPipeline({ spec: { recipe, compute, ...rest } });
  const { plan } = await activities.planQuantization({ pipeline, prompts, recipe });
  const { calibration } = await activities.sampleTrajectories({ pipeline, prompts, recipe, compute });
  const { graph } = await activities.transformGraph({ pipeline, recipe });
  const { stats } = await activities.observeActivations({ graph, plan, calibration, recipe, compute });
  const { parameters } = await activities.roundWeights({ graph, plan, stats, recipe });
  return { pipeline, graph, plan, calibration, parameters, recipe, compute };
}

function run({ activities }: Bench, from: ReconstructionInput, onBlock?: (done: number, total: number) => void) {
  return reconstructBlocks({ ...activities, reconstructBlock: oneAtATime(activities.reconstructBlock) }, from, onBlock);
}

describe('the stage reconstruct', () => {
  it('brings blocks closer to the float network, counts them, and finds everything in the store the second time', async () => {
    const counts: string[] = [];
    const first = await run(bench, input, (done, total) => counts.push(`${done}/${total}`));
    const { pipeline, graph, plan } = input;
    const { blocks, count } = await bench.activities.cutBlocks({ pipeline, graph, plan });
    const cut = (await bench.store.getJson(blocks)) as Block[];
    expect(cut).toHaveLength(count);
    expect(counts).toEqual(Array.from({ length: count }, (_, index) => `${index + 1}/${count}`));
    expect(first.errors).toHaveLength(count);
    for (const { before, after } of first.errors) expect(after).toBeLessThanOrEqual(before);
    const better = first.errors.filter(({ before, after }) => after < before);
    expect(better.length).toBeGreaterThan(count / 2);
    expect(first.summary).toMatch(/^\d+ of \d+ blocks closer to the float network, by \d+\.\d\d dB on average$/);
    expect(first.parameters.digest).not.toBe(input.parameters.digest);
    const second = await run(bench, input);
    expect(second).toMatchObject({ reused: true, parameters: first.parameters, errors: first.errors });
    expect(await readdir(join(bench.store.folder, 'checkpoints'))).toEqual([]);
  });

  it('gives the same digest from an empty store when every block is interrupted at its first checkpoint', async () => {
    const expected = await run(bench, input);
    const other = await Bench.open();
    try {
      vi.spyOn(CheckpointPace.prototype, 'isDue').mockReturnValue(true);
      const start = await rounded(other, spec);
      const ends: string[] = [];
      const { activities } = other;
      const interrupted = oneAtATime(async (one: Parameters<typeof activities.reconstructBlock>[0]) => {
        ends.push(String(await other.interrupted(() => activities.reconstructBlock(one))));
        return activities.reconstructBlock(one);
      });
      const found = await reconstructBlocks({ ...activities, reconstructBlock: interrupted }, start);
      expect(new Set(ends)).toEqual(new Set(['Error: interrupted by the test']));
      expect(found.parameters).toEqual(expected.parameters);
      expect(found.errors).toEqual(expected.errors);
    } finally {
      vi.restoreAllMocks();
      await other.close();
    }
  });

  it('trains blocks on float inputs in one wave, which what is quantized does not change', async () => {
    const { recipe } = await specOf(spec.source, {
      enabled: true,
      steps: 4,
      samples: 24,
      inputs: 'float',
      batchSize: 8,
    });
    const captured: { from: number; to: number; data: readonly ArtifactRef[] }[] = [];
    const { activities } = bench;
    const calls = {
      ...activities,
      reconstructBlock: oneAtATime(activities.reconstructBlock),
      captureBlocks: async (one: Parameters<typeof activities.captureBlocks>[0]) => {
        const result = await activities.captureBlocks(one);
        captured.push({ from: one.from, to: one.to, data: result.data });
        return result;
      },
    };
    const first = await reconstructBlocks(calls, { ...input, recipe });
    expect(captured).toHaveLength(1);
    expect(captured[0]).toMatchObject({ from: 0, to: first.errors.length });
    const again = await reconstructBlocks(calls, { ...input, recipe, parameters: first.parameters });
    expect(captured[1]?.data).toEqual(captured[0]?.data);
    expect(again.reused).toBe(false);
  });
});
