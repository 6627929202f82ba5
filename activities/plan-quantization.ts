import {
  type Activities,
  type PlanQuantizationResult,
  type PlanSummary,
  planQuantizationInputSchema,
} from '../contracts/activities.js';
import { NibbleflowError } from '../contracts/errors.js';
import type { Recipe } from '../contracts/recipe.js';
import { checkDisjoint } from '../models/pipelines/prompt-sets.js';
import { planDenoiser } from '../quantization/plan-denoiser.js';
import { loadPrompts } from './load-artifacts.js';
import { planSummary } from './plan-summary.js';
import { type ActivityDeps, runStage } from './stage-frame.js';
import { loadPipeline } from './stored-pipeline.js';

/** Decides what happens to each layer, and checks that nothing which is evaluated is calibrated on. */
export function createPlanQuantization(deps: ActivityDeps): Activities['planQuantization'] {
  return (rawInput) =>
    runStage(
      deps,
      { stage: 'plan', version: 2, input: planQuantizationInputSchema },
      rawInput,
      async ({ pipeline, prompts, recipe }, context): Promise<Omit<PlanQuantizationResult, 'reused' | 'seconds'>> => {
        checkDisjoint(await loadPrompts(context.store, prompts));
        checkSeeds(recipe);
        const source = await loadPipeline(context.store, pipeline);
        await context.breathe();
        const { plan } = planDenoiser(source, recipe);
        const plannedSummary = planSummary(plan);
        return {
          plan: await context.store.putJson('plan', plan),
          plannedSummary,
          summary: describe(plannedSummary, recipe),
        };
      },
    );
}

/** Start noise is drawn from (seed, picture): equal seeds would calibrate on the noise that is evaluated. */
function checkSeeds({ calibration, evaluation }: Recipe): void {
  if (calibration.seed !== evaluation.seed && calibration.seed !== evaluation.seed + 1) return;
  throw new NibbleflowError(
    'InvalidRecipe',
    'calibration would see the noise of the evaluation: their seeds are equal',
    {
      where: `calibration.seed ${calibration.seed}, evaluation.seed ${evaluation.seed} (its noise floor uses the next)`,
      fix: 'Choose another calibration.seed.',
    },
  );
}

function describe(
  { layers, quantizedLayers, coverage, estimatedBytes }: PlanSummary,
  { weights, activations }: Recipe,
) {
  const scheme = `W${weights.bits}A${activations.bits}`;
  const share = `${(100 * coverage.macs).toFixed(1)} % of multiply-adds at ${scheme}`;
  return `${quantizedLayers} of ${layers} layers, ${share}, about ${(estimatedBytes / 1e6).toFixed(2)} MB`;
}
