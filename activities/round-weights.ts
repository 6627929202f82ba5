import { type Activities, type RoundWeightsResult, roundWeightsInputSchema } from '../contracts/activities.js';
import { readSafetensors, writeSafetensors } from '../models/tensors/safetensors.js';
import { ActivationObservers } from '../quantization/calibration/activation-observers.js';
import { tensorsFromParameters } from '../quantization/quantized-parameters.js';
import { roundParameters } from '../quantization/rounding/round-parameters.js';
import { loadGraph, loadPlan } from './load-artifacts.js';
import { type ActivityDeps, runStage } from './stage-frame.js';

/** Finds the scales of weights and activations. What they say is in the plan; the recipe decides nothing here. */
export function createRoundWeights(deps: ActivityDeps): Activities['roundWeights'] {
  return (rawInput) =>
    runStage(
      deps,
      {
        stage: 'round',
        version: 1,
        input: roundWeightsInputSchema,
        key: ({ graph, plan, stats }) => ({ graph, plan, stats }),
      },
      rawInput,
      async ({ graph, plan, stats }, context): Promise<Omit<RoundWeightsResult, 'reused' | 'seconds'>> => {
        const { tensors, metadata } = readSafetensors(await context.store.get(stats));
        const parameters = await roundParameters({
          graph: await loadGraph(context.store, graph),
          plan: await loadPlan(context.store, plan),
          observers: ActivationObservers.fromTensors(tensors),
          timesteps: JSON.parse(metadata.timesteps ?? '[]') as number[],
          onItem: async (done, total) => {
            context.progress({ done, total, unit: 'layers' });
            await context.breathe();
          },
        });
        const { weights, activations } = parameters;
        return {
          parameters: await context.store.put('parameters', writeSafetensors(tensorsFromParameters(parameters))),
          summary: `scales of ${weights.size} weights and ${activations.size} activations`,
        };
      },
    );
}
