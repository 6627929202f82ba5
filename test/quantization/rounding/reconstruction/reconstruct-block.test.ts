import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EngineExecutor } from '../../../../activities/engine/engine-executor.js';
import { writeSafetensors } from '../../../../models/tensors/safetensors.js';
import { trainableName } from '../../../../quantization/conversion/lower-to-float.js';
import { blockCheckpoint, blockStateFrom } from '../../../../quantization/rounding/reconstruction/block-checkpoint.js';
import { applyTrained, type BlockResult } from '../../../../quantization/rounding/reconstruction/reconstruct-block.js';
import { roundToCodes } from '../../../../quantization/rounding/round-nearest.js';
import { ZooBlocks } from './zoo-blocks.js';

/** Two residual blocks, one of them with a split shortcut, and a transformer block: the zoo's own tensors, few steps. */

const RESIDUAL = 'down_blocks.0.resnets.0';
const SPLIT = 'up_blocks.1.resnets.1';
const TRANSFORMER = 'mid_block.attentions.0.transformer_blocks.0';
/** What so few steps reach at least: held-back error over that of nearest rounding. */
const CLEARLY_LESS = 0.93;

let executor: EngineExecutor;
let zoo: ZooBlocks;
beforeAll(async () => {
  executor = await EngineExecutor.start({ device: 'cpu', threads: 1 });
  zoo = await ZooBlocks.open(executor, [RESIDUAL, SPLIT, TRANSFORMER]);
});
afterAll(() => executor.close());

function digestOf({ trained }: BlockResult): string {
  return createHash('sha256')
    .update(writeSafetensors(new Map(trained)))
    .digest('hex');
}

describe('reconstruction of the zoo’s blocks', () => {
  it.each([
    ['AdaRound on a residual block', RESIDUAL, {}],
    ['AdaRound on a transformer block', TRANSFORMER, {}],
    [
      'joint scales, dropped activations, mixed inputs, inner losses, no penalty',
      TRANSFORMER,
      {
        scales: 'joint' as const,
        activationDrop: 0.5,
        inputMix: 0.5,
        innerLossWeight: 0.8,
        roundingPenalty: 0,
        learningRateRounding: 0.3,
      },
    ],
    ['scales after the weights', RESIDUAL, { scales: 'after' as const, scaleSteps: 10, learningRateScales: 0.01 }],
    ['float inputs', RESIDUAL, { inputs: 'float' as const }],
  ])('lowers the held-back output error below nearest rounding’s: %s', async (_, name, settings) => {
    const { before, after } = await zoo.reconstruct(name, { steps: name === RESIDUAL ? 60 : 25, ...settings });
    expect(before).toBeGreaterThan(0);
    expect(after / before).toBeLessThan(CLEARLY_LESS);
  });

  it('changes this block’s codes by one at most, and no table but its own', async () => {
    const { trained } = await zoo.reconstruct(SPLIT, { steps: 10, scales: 'joint', learningRateScales: 0.01 });
    const result = applyTrained(zoo.prepared.plan, zoo.parameters, trained);
    const members = new Set(zoo.blocks.find(({ name }) => name === SPLIT)?.layers);
    let moved = 0;
    for (const { name, weight } of zoo.prepared.plan.layers) {
      const [was, is] = [zoo.parameters.weights.get(name), result.weights.get(name)];
      if (weight === null || was === undefined || is === undefined) continue;
      if (!members.has(name)) expect(is, name).toBe(was);
      const codes = [was, is].map((held) => roundToCodes(held.weight, held.scales, weight));
      const distances = Array.from(codes[0] ?? [], (code, index) => Math.abs(code - (codes[1]?.[index] ?? 0)));
      expect(distances.filter((distance) => distance > 1).length, name).toBe(0);
      moved += distances.reduce((sum, distance) => sum + distance, 0);
    }
    expect(moved).toBeGreaterThan(0);
    const tables = [...trained.keys()].filter((name) => name.endsWith('/scale'));
    const embedding = zoo.prepared.quantizers.find(({ readers }) =>
      readers.some(({ layer }) => layer === `${SPLIT}.time_emb_proj`),
    );
    expect(tables.length).toBe(4);
    expect(tables).not.toContain(trainableName.range(embedding?.id ?? ''));
  });

  it('goes on from a checkpoint in either phase as if nothing had happened', async () => {
    const settings = {
      ...{ steps: 6, scales: 'after' as const, scaleSteps: 4, inputMix: 0.5, learningRateScales: 0.01 },
      learningRateRounding: 0.1,
    };
    const checkpoints: Uint8Array[] = [];
    const undisturbed = await zoo.reconstruct(SPLIT, settings, {
      onStep: async ({ done }, snapshot) => {
        if (done === 3 || done === 8) checkpoints.push(blockCheckpoint(await snapshot()));
      },
    });
    expect(checkpoints).toHaveLength(2);
    expect(undisturbed.trained.size).toBeGreaterThan(0);
    for (const [index, bytes] of checkpoints.entries()) {
      const steps: number[] = [];
      const resumed = await zoo.reconstruct(SPLIT, settings, {
        resume: blockStateFrom(bytes),
        onStep: async ({ done }) => void steps.push(done),
      });
      expect(steps[0]).toBe([4, 9][index]);
      expect(digestOf(resumed)).toBe(digestOf(undisturbed));
      expect([resumed.before, resumed.after]).toEqual([undisturbed.before, undisturbed.after]);
    }
  });

  it('keeps nearest rounding when nothing beats it on held-back items', async () => {
    const { trained, before, after } = await zoo.reconstruct(RESIDUAL, {
      steps: 2,
      learningRateRounding: 50,
      roundingPenalty: 0,
    });
    expect(trained.size).toBe(0);
    expect(after).toBe(before);
  });

  it('says so when the loss is no longer a number', async () => {
    const settings = { steps: 3, scales: 'joint' as const, learningRateScales: 1e38 };
    await expect(zoo.reconstruct(SPLIT, settings)).rejects.toMatchObject({ kind: 'NonFiniteLoss' });
  });
});
