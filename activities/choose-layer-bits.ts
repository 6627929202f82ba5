import { type Activities, type ChooseLayerBitsResult, chooseLayerBitsInputSchema } from '../contracts/activities.js';
import { type BitsChoice, chooseBits } from '../quantization/sensitivity/choose-bits.js';
import type { Sensitivity } from '../quantization/sensitivity/sensitivity.js';
import { loadPlan } from './load-artifacts.js';
import { planSummary } from './plan-summary.js';
import { type ActivityDeps, runStage } from './stage-frame.js';

/** Chooses bits per layer from the scan; its plan takes the place of the planned one. */
export function createChooseLayerBits(deps: ActivityDeps): Activities['chooseLayerBits'] {
  return (rawInput) =>
    runStage(
      deps,
      { stage: 'mixed-precision', version: 1, input: chooseLayerBitsInputSchema },
      rawInput,
      async ({ plan, sensitivity, recipe }, context): Promise<Omit<ChooseLayerBitsResult, 'reused' | 'seconds'>> => {
        const scanned = (await context.store.getJson(sensitivity)) as Sensitivity;
        const found = await chooseBits(await loadPlan(context.store, plan), scanned, recipe, context.breathe);
        return {
          plan: await context.store.putJson('plan', found.plan),
          plannedSummary: planSummary(found.plan),
          summary: describe(found),
        };
      },
    );
}

function describe({ plan, changed, predicted, isOptimal }: BitsChoice): string {
  const share = (value: number): string => `${(100 * value).toFixed(2)} %`;
  const proof = { true: ', proven best', false: ', not proven best', null: '' }[
    String(isOptimal) as 'true' | 'false' | 'null'
  ];
  return `${changed.length} layers with other bits, sum of their errors ${share(predicted.before)} → ${share(predicted.after)}${proof}; ${share(plan.coverage.macs)} of multiply-adds stay low`;
}
