import type { Activities } from '../contracts/activities.js';
import { type MergeBlocksResult, mergeBlocksInputSchema } from '../contracts/reconstruction-activities.js';
import { readSafetensors, writeSafetensors } from '../models/tensors/safetensors.js';
import { asFloat32, type Float32Tensor } from '../models/tensors/tensor.js';
import { tensorsFromParameters } from '../quantization/quantized-parameters.js';
import { applyTrained } from '../quantization/rounding/reconstruction/reconstruct-block.js';
import { loadParameters, loadPlan } from './load-artifacts.js';
import { type ActivityDeps, runStage } from './stage-frame.js';

/** Parameters with what some blocks learned. */
export function createMergeBlocks(deps: ActivityDeps): Activities['mergeBlocks'] {
  return (rawInput) =>
    runStage(
      deps,
      { stage: 'reconstruct', version: 1, input: mergeBlocksInputSchema, key: (input) => ({ merge: input }) },
      rawInput,
      async (input, { store }): Promise<Omit<MergeBlocksResult, 'reused' | 'seconds'>> => {
        const trained = new Map<string, Float32Tensor>();
        for (const ref of input.trained) {
          const { tensors } = readSafetensors(await store.get(ref));
          for (const [name, value] of tensors) trained.set(name, asFloat32(value));
        }
        const plan = await loadPlan(store, input.plan);
        const parameters = applyTrained(plan, await loadParameters(store, input.parameters), trained);
        return {
          parameters: await store.put('parameters', writeSafetensors(tensorsFromParameters(parameters))),
          summary: `${input.trained.length} blocks merged`,
        };
      },
    );
}
