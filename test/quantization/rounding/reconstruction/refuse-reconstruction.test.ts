import { describe, expect, it } from 'vitest';
import { recipeSchema } from '../../../../contracts/recipe.js';
import { planDenoiser, planningInputs } from '../../../../quantization/plan-denoiser.js';
import { refuseReconstruction } from '../../../../quantization/rounding/reconstruction/refuse-reconstruction.js';
import { zooPipeline } from '../../../zoo-pipeline.js';

const pipeline = zooPipeline();
const recipe = recipeSchema.parse({ finetuning: { enabled: false }, reconstruction: { enabled: true } });
const planned = planDenoiser(pipeline, recipe);
const inputs = planningInputs(pipeline.denoiser);

describe('denoisers whose blocks cannot be reconstructed', () => {
  it('are refused with everything that stands in the way', () => {
    const graph = planned.graph.clone();
    for (const node of graph.nodes) {
      if (node.name.includes('mid_block') && node.opType === 'Sigmoid') node.opType = 'Bernoulli';
    }
    const denoiser = { ...pipeline.denoiser, timestepRows: 'scalar' as const };
    expect(() => refuseReconstruction(denoiser, inputs, { ...planned, graph }, recipe)).toThrow(
      /one timestep for the whole batch; there is no gradient rule for Bernoulli.*reconstruction\.enabled=false/s,
    );
  });

  it('pass when nothing is reconstructed, and others pass always', () => {
    const denoiser = { ...pipeline.denoiser, timestepRows: 'scalar' as const };
    const untouched = recipeSchema.parse({ finetuning: { enabled: false } });
    expect(() => refuseReconstruction(denoiser, inputs, planned, untouched)).not.toThrow();
    expect(() => refuseReconstruction(pipeline.denoiser, inputs, planned, recipe)).not.toThrow();
  });
});

describe('reconstruction settings that contradict each other', () => {
  const parse = (reconstruction: object, ranges: 'dynamic' | 'static' = 'static') =>
    recipeSchema.safeParse({
      activations: { ranges, groupSize: null },
      reconstruction: { enabled: true, ...reconstruction },
    });

  it.each([
    [{ inputs: 'float', inputMix: 0.5 }, 'static', 'inputMix'],
    [{ scales: 'after', activationDrop: 0.5 }, 'static', 'activationDrop'],
    [{ scales: 'joint' }, 'dynamic', 'scales'],
  ] as const)('are refused when the recipe is read: %o with %s ranges', (settings, ranges, key) => {
    const { error } = parse(settings, ranges);
    expect(error?.issues.map(({ path }) => path)).toEqual([['reconstruction', key]]);
    expect(parse({ ...settings, enabled: false }, ranges).success).toBe(true);
  });

  it('pass otherwise', () => {
    expect(parse({ scales: 'joint', inputMix: 0.5, activationDrop: 0.5 }).success).toBe(true);
    expect(parse({}, 'dynamic').success).toBe(true);
  });
});
