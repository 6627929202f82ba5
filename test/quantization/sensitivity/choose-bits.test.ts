import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EngineExecutor } from '../../../activities/engine/engine-executor.js';
import { type Recipe, type RecipeInput, recipeSchema } from '../../../contracts/recipe.js';
import { ActivationObservers } from '../../../quantization/calibration/activation-observers.js';
import type { CalibrationSet } from '../../../quantization/calibration/calibration-set.js';
import type { QuantizationPlan } from '../../../quantization/layer-plan.js';
import { chooseBits } from '../../../quantization/sensitivity/choose-bits.js';
import { layerAtBits } from '../../../quantization/sensitivity/plan-at-bits.js';
import { scanSensitivity } from '../../../quantization/sensitivity/scan-sensitivity.js';
import type { Sensitivity } from '../../../quantization/sensitivity/sensitivity.js';
import { sensitivityBatches, sensitivityItems } from '../../../quantization/sensitivity/sensitivity-items.js';
import { bundledRecipe, type PreparedZoo, pipeline, prepareZoo } from '../quantized-zoo.js';
import { GUIDANCE, promptSets, zooCalibration } from '../zoo-calibration.js';
import { only, outputs, quantizedNetwork, relativeError } from './quantized-network.js';

const prepared: PreparedZoo = prepareZoo(bundledRecipe('w4a4-dynamic'));
const MACS = prepared.plan.layers.reduce((sum, layer) => sum + (layer.parameters > 0 ? layer.macs : 0), 0);

function recipeWith(mixedPrecision: RecipeInput['mixedPrecision'], more: RecipeInput = {}): Recipe {
  return recipeSchema.parse({
    ...bundledRecipe('w4a4-dynamic'),
    ...more,
    sensitivity: { enabled: true, bits: [4, 8] },
    mixedPrecision,
  });
}

/** A scan as it could come out: errors fall sixteen times every two bits, the k-th layer is k times as sensitive as the first. */
function inventedScan(plan: QuantizationPlan): Sensitivity {
  const bits = [4, 6, 8];
  const layers = plan.layers.map(({ name, role, weight, macs, parameters }, index) => {
    const at = (share: number) =>
      bits.map((one) => ({
        bits: one,
        output: share * (index + 1) * 4 ** -one,
        guided: share * (200 - index) * 4 ** -one,
      }));
    return {
      ...{ name, role, macsShare: parameters > 0 ? macs / MACS : 0, ownError: 0.1, ownErrors: [] },
      weights: weight === null ? [] : at(0.01),
      activations: at(0.02),
    };
  });
  return { schemaVersion: 1, items: 32, bits, layers };
}

const bitsByName = (plan: QuantizationPlan): Map<string, string> =>
  new Map(plan.layers.map(({ name, weight, inputs }) => [name, `${weight?.scheme.bits}x${inputs[0]?.scheme.bits}`]));

describe('chooseBits', () => {
  const scan = inventedScan(prepared.plan);

  it.each(['greedy', 'integer-programme'] as const)(
    '%s spends the budget of multiply-adds and not more',
    async (method) => {
      const { plan, changed, predicted } = await chooseBits(prepared.plan, scan, recipeWith({ method }));
      expect(plan.coverage.macs).toBeGreaterThanOrEqual(0.98);
      expect(plan.coverage.macs).toBeLessThan(0.982);
      expect(changed.length).toBeGreaterThan(0);
      expect(predicted.after).toBeLessThan(predicted.before);
      expect(plan.estimatedBytes).toBeGreaterThan(prepared.plan.estimatedBytes);
    },
  );

  it('is never worse exactly than greedily, and says that it is optimal', async () => {
    const choose = (mixed: RecipeInput['mixedPrecision']) => chooseBits(prepared.plan, scan, recipeWith(mixed));
    for (const minimumCoverage of [0.98, 0.9, 0.5]) {
      const greedy = await choose({ method: 'greedy', minimumCoverage });
      const exact = await choose({ method: 'integer-programme', minimumCoverage });
      expect(exact.predicted.after).toBeLessThanOrEqual(greedy.predicted.after * (1 + 1e-9));
      expect([greedy.isOptimal, exact.isOptimal]).toEqual([null, true]);
    }
  });

  it('keeps within bytes as estimated for the whole plan, alone or together with multiply-adds', async () => {
    const megabytes = (prepared.plan.estimatedBytes + 150_000) / 1e6;
    for (const minimumCoverage of [null, 0.9]) {
      for (const method of ['greedy', 'integer-programme'] as const) {
        const { plan, changed } = await chooseBits(
          prepared.plan,
          scan,
          recipeWith({ method, megabytes, minimumCoverage }),
        );
        expect(plan.estimatedBytes).toBeLessThanOrEqual(megabytes * 1e6);
        expect(plan.coverage.macs).toBeGreaterThanOrEqual(minimumCoverage ?? 0);
        expect(changed.length).toBeGreaterThan(0);
      }
    }
  });

  it('leaves layers of overrides and the edges alone, and says so', async () => {
    const overrides = [{ layers: '^mid_block', weightBits: 8, activationBits: 8 }];
    const fixed = prepareZoo({ ...bundledRecipe('w4a4-dynamic'), overrides });
    const recipe = recipeWith({ method: 'greedy', minimumCoverage: 0.6 }, { overrides });
    const { plan } = await chooseBits(fixed.plan, scan, recipe);
    const [before, after] = [bitsByName(fixed.plan), bitsByName(plan)];
    for (const { name, reason, weight } of plan.layers) {
      if (weight === null) expect(reason).toBeUndefined();
      else expect(reason?.length).toBeGreaterThan(10);
      if (!name.startsWith('mid_block') && !name.startsWith('conv_')) continue;
      expect(after.get(name), name).toBe(before.get(name));
      if (weight !== null) expect(reason).toMatch(/override|first and last/);
    }
  });

  it('may free the edges: then it can lower them where that wins more elsewhere', async () => {
    const lower = async (edges: boolean) =>
      (await chooseBits(prepared.plan, scan, recipeWith({ method: 'integer-programme', edges }))).predicted.after;
    const all = scan.layers.filter(({ name }) => name === 'conv_in' || name === 'conv_out');
    const edges = all.reduce(
      (sum, { weights, activations }) => sum + (weights[2]?.output ?? 0) + (activations[2]?.output ?? 0),
      0,
    );
    expect(await lower(true)).toBeLessThanOrEqual((await lower(false)) + edges);
  });

  it('follows the objective', async () => {
    const byObjective = async (objective: 'output' | 'guided') =>
      (await chooseBits(prepared.plan, scan, recipeWith({ method: 'greedy', objective, minimumCoverage: 0.9 })))
        .changed;
    expect(await byObjective('output')).not.toEqual(await byObjective('guided'));
  });

  it('refuses a budget that no scanned bits can meet', async () => {
    await expect(
      chooseBits(prepared.plan, scan, recipeWith({ method: 'greedy', minimumCoverage: 0.995 })),
    ).rejects.toThrow(/no bits that were scanned stay within the budgets/);
    await expect(chooseBits(prepared.plan, scan, recipeWith({ method: 'greedy', megabytes: 0.1 }))).rejects.toThrow(
      /megabytes 0.1/,
    );
  });
});

describe('on the zoo denoiser', () => {
  /** Small enough to scan in seconds; among them the most sensitive layer. */
  const LAYERS = /^(up_blocks\.1\.resnets\.\d\.conv|up_blocks\.0\.upsamplers|mid_block\.attentions\.0\.(proj|.*ff))/;
  const COVERAGE = 0.9;

  let executor: EngineExecutor;
  let set: CalibrationSet;
  beforeAll(async () => {
    executor = await EngineExecutor.start({ device: 'cpu', threads: 1 });
    set = await zooCalibration(executor, promptSets(4, 2).calibration, { steps: 4, timesteps: 4 });
  });
  afterAll(() => executor.close());

  it('the chosen bits lower the error of the whole network on other inputs, and more than the same budget on other layers', async () => {
    const { graph, shapes } = prepared;
    const kept = only(prepared.plan, ({ name }) => LAYERS.test(name));
    const own = kept.layers.filter(({ skipped }) => skipped === null);
    const share = own.reduce((sum, { macs }) => sum + macs, 0) / MACS;
    const common = { graph, shapes, calibration: set, denoiser: pipeline.denoiser, executor, guidance: GUIDANCE };
    const options = {
      ...common,
      observers: new ActivationObservers(),
      plan: kept,
      bits: [4, 8],
      items: 4,
      batchSize: 4,
      seed: 1,
    };
    const recipe = recipeWith({ method: 'greedy', minimumCoverage: COVERAGE * share });
    const chosen = await chooseBits(kept, await scanSensitivity(options), recipe);
    const spent = (names: ReadonlySet<string>): number =>
      own.reduce((sum, { name, macs }) => sum + (names.has(name) ? macs : 0), 0);
    const budget = spent(new Set(chosen.changed));
    const others = new Set<string>();
    for (const { name } of own) {
      if (!chosen.changed.includes(name) && spent(new Set([...others, name])) <= 1.5 * budget) others.add(name);
    }
    const raised = (names: ReadonlySet<string>): QuantizationPlan => ({
      ...kept,
      layers: kept.layers.map((layer) =>
        names.has(layer.name) ? layerAtBits(layer, { weights: 8, activations: 8 }) : layer,
      ),
    });
    const feeds = sensitivityBatches(set, sensitivityItems(set, 8, 99), pipeline.denoiser, 8).map(
      (batch) => batch.feeds,
    );
    const float = await outputs(executor, graph, feeds);
    const errorOf = async (plan: QuantizationPlan): Promise<number> =>
      relativeError(float, await outputs(executor, await quantizedNetwork(options, plan, 'both'), feeds));
    const [base, withChoice, withOthers] = [
      await errorOf(kept),
      await errorOf(chosen.plan),
      await errorOf(raised(others)),
    ];
    expect(chosen.changed).toContain('up_blocks.1.resnets.1.conv_shortcut.part0');
    expect(others.size).toBeGreaterThan(0);
    expect(withChoice).toBeLessThan(0.9 * base);
    expect(withChoice).toBeLessThan(withOthers);
  }, 120_000);
});
