import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ArtifactRef } from '../../contracts/artifact.js';
import { type RecipeInput, recipeSchema } from '../../contracts/recipe.js';
import { readSafetensors } from '../../models/tensors/safetensors.js';
import { parametersFromTensors, type QuantizedParameters } from '../../quantization/quantized-parameters.js';
import { writeTinyPipeline } from '../fixtures/tiny-pipeline.js';
import { Bench, tinySpec } from './run-chain.js';

/** The stage on an untrained pipeline of every kind of layer: seconds. */
const CHANGE: RecipeInput = {
  weights: { bits: 4, granularity: 'channel' },
  activations: { bits: 4, ranges: 'dynamic', groupSize: null },
  transforms: ['split-shortcut', 'smooth'],
  lowRank: { macsBudget: 0.1 },
  corrections: ['output-refit', 'norm-tweak'],
  evaluation: { samples: 2 },
};

let bench: Bench;
let input: { graph: ArtifactRef; plan: ArtifactRef; calibration: ArtifactRef; parameters: ArtifactRef };
let spec: Awaited<ReturnType<typeof tinySpec>>;

beforeAll(async () => {
  bench = await Bench.open();
  const source = join(bench.folder, 'tiny');
  await mkdir(source, { recursive: true });
  await writeTinyPipeline(source);
  spec = await tinySpec(join(bench.folder, 'out'), CHANGE, source);
  const { activities } = bench;
  const { recipe, compute } = spec;
  const { pipeline, prompts } = await activities.importPipeline({ spec });
  const { plan } = await activities.planQuantization({ pipeline, prompts, recipe });
  const { calibration } = await activities.sampleTrajectories({ pipeline, prompts, recipe, compute });
  const { graph } = await activities.transformGraph({ pipeline, recipe, calibration });
  const { stats } = await activities.observeActivations({ graph, plan, calibration, recipe, compute });
  const { parameters } = await activities.roundWeights({ graph, plan, stats, recipe });
  input = { graph, plan, calibration, parameters };
}, 240_000);
afterAll(() => bench.close());

async function loaded(ref: ArtifactRef): Promise<QuantizedParameters> {
  return parametersFromTensors(readSafetensors(await bench.store.get(ref)).tensors);
}

describe('the stage that corrects rounded parameters', () => {
  it('adds branches within the budget, refits outputs and tweaks scalings, the same way every time', async () => {
    const { recipe, compute } = spec;
    const first = await bench.activities.correctParameters({ ...input, recipe, compute });
    expect(first.branches?.macs).toBeGreaterThan(0);
    expect(first.branches?.macs).toBeLessThanOrEqual(0.1);
    expect(first.summary).toContain('output refit; norm tweak');
    const [before, after] = [await loaded(input.parameters), await loaded(first.parameters)];
    expect(after.branches.size).toBe(first.branches?.layers);
    expect(after.norms?.size).toBeGreaterThan(0);
    const refitted = [...after.weights].filter(([name, { scales }]) =>
      scales.data.some((value, at) => value !== before.weights.get(name)?.scales.data[at]),
    );
    expect(refitted.length).toBeGreaterThan(after.branches.size);
    const other = await Bench.open();
    try {
      await Promise.all(Object.values(input).map(async (ref) => other.store.put(ref.kind, await bench.store.get(ref))));
      const again = await other.activities.correctParameters({ ...input, recipe, compute });
      expect(again.parameters.digest).toBe(first.parameters.digest);
    } finally {
      await other.close();
    }
    expect((await bench.activities.correctParameters({ ...input, recipe, compute })).reused).toBe(true);
  }, 120_000);

  it('is found again only under the same settings', async () => {
    const recipe = recipeSchema.parse({ ...spec.recipe, corrections: [] });
    const found = await bench.activities.correctParameters({ ...input, recipe, compute: spec.compute });
    expect(found.reused).toBe(false);
    expect((await loaded(found.parameters)).norms).toBeUndefined();
  }, 120_000);
});
