import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ArtifactRef } from '../../contracts/artifact.js';
import type { Recipe, RecipeInput } from '../../contracts/recipe.js';
import type { RunSpec } from '../../contracts/stages.js';
import type { QuantizationPlan } from '../../quantization/layer-plan.js';
import type { Sensitivity } from '../../quantization/sensitivity/sensitivity.js';
import { writeTinyPipeline } from '../fixtures/tiny-pipeline.js';
import { Bench, tinySpec } from './run-chain.js';

/** An untrained pixel-space pipeline of a few layers, with tables per timestep. */
const CHANGES: RecipeInput = {
  finetuning: { enabled: false },
  weights: { granularity: 'channel' },
  activations: { ranges: 'timestep' },
  sensitivity: { enabled: true, bits: [8], items: 8 },
  mixedPrecision: { method: 'greedy', minimumCoverage: 0.9 },
};

interface Scanned {
  readonly pipeline: ArtifactRef;
  readonly graph: ArtifactRef;
  readonly plan: ArtifactRef;
  readonly stats: ArtifactRef;
  readonly calibration: ArtifactRef;
}

async function upToObserve({ activities }: Bench, spec: RunSpec): Promise<Scanned> {
  const { recipe, compute } = spec;
  const { pipeline, prompts } = await activities.importPipeline({ spec });
  const { plan } = await activities.planQuantization({ pipeline, prompts, recipe });
  const { calibration } = await activities.sampleTrajectories({ pipeline, prompts, recipe, compute });
  const { graph } = await activities.transformGraph({ pipeline, recipe });
  const { stats } = await activities.observeActivations({ graph, plan, calibration, recipe, compute });
  return { pipeline, graph, plan, stats, calibration };
}

let bench: Bench;
let spec: RunSpec;
let recipe: Recipe;
let parts: Scanned;
beforeAll(async () => {
  bench = await Bench.open();
  const source = join(bench.folder, 'tiny');
  await writeTinyPipeline(source);
  spec = await tinySpec(join(bench.folder, 'out'), CHANGES, source);
  recipe = spec.recipe;
  parts = await upToObserve(bench, spec);
}, 120_000);
afterAll(() => bench.close());

const scan = (on: Bench, changed: Recipe = recipe) =>
  on.activities.measureSensitivity({ ...parts, recipe: changed, compute: spec.compute });

describe('the scan as a stage', () => {
  it('ends bit-equal after an interruption', async () => {
    const failure = await bench.interrupted(() => scan(bench));
    expect(failure).toMatchObject({ message: 'interrupted by the test' });
    const resumed = await scan(bench);
    const other = await Bench.open();
    try {
      for (const ref of Object.values(parts)) await other.store.put(ref.kind, await bench.store.get(ref));
      for (const path of await storedFiles(parts.pipeline))
        await other.store.put(path.kind, await bench.store.get(path));
      const whole = await scan(other);
      expect(resumed.sensitivity.digest).toBe(whole.sensitivity.digest);
    } finally {
      await other.close();
    }
  }, 240_000);

  it('is found again when only its gate or the choice of bits changes', async () => {
    const changed = {
      ...recipe,
      sensitivity: { ...recipe.sensitivity, gate: { fine: 0.1, doomed: 0.2, stop: true } },
      mixedPrecision: { ...recipe.mixedPrecision, minimumCoverage: 0.5 },
    };
    expect((await scan(bench)).reused).toBe(true);
    expect((await scan(bench, changed)).reused).toBe(true);
  });

  it('gives a plan with reasons that rounding and conversion take', async () => {
    const { sensitivity } = await scan(bench);
    const chosen = await bench.activities.chooseLayerBits({ plan: parts.plan, sensitivity, recipe });
    const before = (await bench.store.getJson(parts.plan)) as QuantizationPlan;
    const after = (await bench.store.getJson(chosen.plan)) as QuantizationPlan;
    const scanned = (await bench.store.getJson(sensitivity)) as Sensitivity;
    expect(scanned.bits).toEqual([4, 8]);
    expect(after.coverage.macs).toBeGreaterThanOrEqual(0.9);
    expect(after.coverage.macs).toBeLessThan(before.coverage.macs);
    const raised = after.layers.filter(({ reason }) => reason?.startsWith('alone it cost'));
    expect(raised.length).toBeGreaterThan(0);
    expect(raised.every(({ weight }) => weight?.scheme.bits === 8)).toBe(true);
    expect(after.layers.every(({ weight, reason }) => (weight === null) === (reason === undefined))).toBe(true);
    const { graph, stats, pipeline } = parts;
    const { parameters } = await bench.activities.roundWeights({ graph, plan: chosen.plan, stats, recipe });
    const shipped = await bench.activities.convertPipeline({ pipeline, graph, plan: chosen.plan, parameters, recipe });
    expect(shipped.denoiserBytes).toBeGreaterThan(0);
  });
});

async function storedFiles(pipeline: ArtifactRef): Promise<ArtifactRef[]> {
  const manifest = (await bench.store.getJson(pipeline)) as {
    readonly files: readonly { readonly ref: ArtifactRef }[];
  };
  return manifest.files.map(({ ref }) => ref);
}
