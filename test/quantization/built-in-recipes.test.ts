import { describe, expect, it } from 'vitest';
import { builtInRecipes, loadRecipe } from '../../cli/load-recipe.js';
import { packageRoot } from '../../cli/package-root.js';
import { recipeSchema } from '../../contracts/recipe.js';
import { activationQuantizers } from '../../quantization/activation-quantizers.js';
import { selectedLayers } from '../../quantization/finetuning/selected-layers.js';
import { planDenoiser } from '../../quantization/plan-denoiser.js';
import { zooPipeline } from '../zoo-pipeline.js';

const pipeline = zooPipeline();
const names = await builtInRecipes();
const load = (name: string, ...settings: string[]) => loadRecipe(name, settings, packageRoot());

/** Methods of papers, which the README lists. */
const METHODS = ['q-diffusion', 'quest', 'eda-dm', 'dgq'];

describe('built-in recipes', () => {
  it('hold the methods', () => {
    expect(names).toEqual(expect.arrayContaining(['w4a4', 'w4a4-dynamic', 'w4a8', 'w8a8', 'best', ...METHODS]));
  });

  it.each(names)(
    '%s is named after its file, plans the whole zoo denoiser, and finetunes layers that exist',
    async (name) => {
      const recipe = await load(name);
      expect(recipe.name).toBe(name);
      const { plan } = planDenoiser(pipeline, recipe);
      expect(plan.layers.filter(({ skipped }) => skipped !== null)).toEqual([]);
      expect(plan.coverage.macs).toBeGreaterThan(0.98);
      for (const phase of recipe.finetuning.phases) {
        expect([phase.name, selectedLayers(plan, phase.layers).size > 0]).toEqual([phase.name, true]);
      }
    },
  );

  it.each(METHODS)('%s plans with other bits', async (name) => {
    const { plan } = planDenoiser(pipeline, await load(name, 'activations.bits=5', 'weights.bits=6'));
    const inner = plan.layers.filter(({ role, weight }) => weight !== null && role !== 'first' && role !== 'last');
    const bits = inner.map(({ weight, inputs }) => [weight?.scheme.bits, ...inputs.map(({ scheme }) => scheme.bits)]);
    expect(new Set(bits.map((pair) => pair.join('/')))).toEqual(new Set(['6/5']));
  });

  it.each(METHODS)('%s has the mechanisms of its paper, and none that only another has', async (name) => {
    const { calibration, finetuning, reconstruction, activations, attention } = await load(name);
    expect({
      allots: calibration.strategy === 'density-variety',
      innerErrors: reconstruction.innerLossWeight > 0,
      finetunes: finetuning.enabled && finetuning.phases.length > 0,
      reconstructs: reconstruction.enabled,
      groups: activations.grouping.method !== 'none',
      powers: attention.probabilities !== 'uniform',
    }).toEqual(
      {
        'q-diffusion': {
          allots: false,
          innerErrors: false,
          finetunes: false,
          reconstructs: true,
          groups: false,
          powers: false,
        },
        quest: {
          allots: false,
          innerErrors: false,
          finetunes: true,
          reconstructs: false,
          groups: false,
          powers: false,
        },
        'eda-dm': {
          allots: true,
          innerErrors: true,
          finetunes: false,
          reconstructs: true,
          groups: false,
          powers: false,
        },
        dgq: { allots: false, innerErrors: false, finetunes: false, reconstructs: true, groups: true, powers: true },
      }[name],
    );
  });

  it("quest trains QuEST's layers in QuEST's order, every quantizer with a range per timestep", async () => {
    const recipe = await load('quest');
    const { plan } = planDenoiser(pipeline, recipe);
    const [first, second] = recipe.finetuning.phases.map(({ layers }) => [...selectedLayers(plan, layers)]);
    const named = (pattern: RegExp) => plan.layers.map(({ name }) => name).filter((name) => pattern.test(name));
    expect(first).toEqual(named(/^time_embedding\.|time_emb_proj$/));
    expect(second).toEqual(named(/to_q$|attn1\.to_[kv]$|\.ff\.net\./));
    expect(recipe.finetuning).toMatchObject({ outputLossWeight: 2, layerLossWeight: 1, gradient: 'identity' });
    expect(new Set(activationQuantizers(plan).map(({ scheme }) => scheme.ranges))).toEqual(new Set(['timestep']));
  });
});

describe('a recipe that cannot be meant', () => {
  const phase = '{ name: a, layers: [linear], steps: 1 }';
  it.each([
    [
      'every loss weight 0',
      ['finetuning.outputLossWeight=0', 'finetuning.layerLossWeight=0', 'finetuning.guidedLossWeight=0'],
      'finetuning.phases.0: it has nothing to lower',
    ],
    [
      'a phase without any loss',
      ['finetuning.outputLossWeight=0', 'finetuning.guidedLossWeight=0', 'finetuning.phases.1.layerLossWeight=0'],
      'finetuning.phases.1: it has nothing to lower',
    ],
    [
      'two phases of one name',
      [`finetuning.phases=[${phase}, ${phase}]`],
      'finetuning.phases.1: there is a phase named a',
    ],
    ['a selector that is none', ['finetuning.phases.0.layers=[attention]'], 'finetuning.phases.0.layers.0'],
    ['groups of run-time ranges for stored ones', ['activations.groupSize=32'], 'activations.groupSize'],
    [
      'a stored range per timestep from samples that leave timesteps out',
      ['calibration.strategy=density-variety'],
      'calibration: density-variety may leave timesteps without samples',
    ],
    [
      'groups of ranges found at run time',
      ['activations.ranges=dynamic', 'activations.grouping.method=kmeans'],
      'activations.grouping',
    ],
    [
      'powers of two for probabilities that stay float',
      ['attention.bits=null', 'attention.probabilities=log2'],
      'attention.probabilities',
    ],
    [
      'mixed precision without a scan',
      ['mixedPrecision.method=greedy'],
      'mixedPrecision: mixed precision needs the sensitivity scan',
    ],
    ['a trust radius of nothing', ['finetuning.trustFactor=0'], 'finetuning.trustFactor'],
  ])('is refused: %s', async (_, settings, message) => {
    await expect(load('quest', ...settings)).rejects.toMatchObject({
      kind: 'InvalidRecipe',
      message: expect.stringContaining(message),
    });
  });

  it('is not refused for what is switched off', () => {
    const finetuning = { enabled: false, outputLossWeight: 0, layerLossWeight: 0, phases: [] };
    expect(recipeSchema.safeParse({ finetuning }).success).toBe(true);
  });
});
