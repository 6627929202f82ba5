import { type Activities, type ArrangeChannelsResult, arrangeChannelsInputSchema } from '../contracts/activities.js';
import { arrangeableQuantizers, arrangePlan } from '../quantization/calibration/arrange-plan.js';
import { CALLS_PER_TIMESTEP } from '../quantization/calibration/collect-statistics.js';
import { sampleRows } from '../quantization/calibration/sample-rows.js';
import { loadCalibration, loadGraph, loadPlan } from './load-artifacts.js';
import { type ActivityDeps, runStage } from './stage-frame.js';

/** Finds which channels share a range where ranges are found at run time; its plan takes the place of the planned one. */
export function createArrangeChannels(deps: ActivityDeps): Activities['arrangeChannels'] {
  return (rawInput) =>
    runStage(
      deps,
      {
        stage: 'arrange',
        version: 2,
        input: arrangeChannelsInputSchema,
        key: ({ recipe, ...input }) => ({ ...input, seed: recipe.calibration.seed }),
      },
      rawInput,
      async (input, context): Promise<Omit<ArrangeChannelsResult, 'reused' | 'seconds'>> => {
        const { set, denoiser } = await loadCalibration(context.store, input.calibration);
        const graph = await loadGraph(context.store, input.graph);
        const plan = await loadPlan(context.store, input.plan);
        const quantizers = arrangeableQuantizers(plan);
        if (quantizers.length === 0)
          return { plan: input.plan, summary: 'no value has ranges in groups: nothing to arrange' };
        const progress =
          (unit: string) =>
          async (done: number, total: number): Promise<void> => {
            context.progress({ done, total, unit, note: 'channels that share a range' });
            await context.breathe();
          };
        const sources = [...new Map(quantizers.map((one) => [one.value, one])).values()];
        const rows = await context.withEngine(input.compute, (executor) =>
          sampleRows({
            ...{ executor, graph, denoiser, sources, calibration: set },
            ...{ seed: input.recipe.calibration.seed, onBatch: progress('calls') },
            batchSize: Math.max(1, Math.floor(CALLS_PER_TIMESTEP / context.microBatchDivisor)),
          }),
        );
        const found = await arrangePlan({
          plan,
          graph,
          quantizers,
          rows,
          onQuantizer: progress('values'),
          breathe: context.breathe,
        });
        return {
          plan: await context.store.putJson('plan', found.plan),
          summary: `${found.arranged} of ${quantizers.length} values arranged, their squared ranges fall to ${Math.round(100 * found.meanCost)} %`,
        };
      },
    );
}
