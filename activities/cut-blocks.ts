import type { Activities } from '../contracts/activities.js';
import { type CutBlocksResult, cutBlocksInputSchema } from '../contracts/reconstruction-activities.js';
import { planningInputs } from '../quantization/plan-denoiser.js';
import { type Block, cutBlocks } from '../quantization/rounding/reconstruction/cut-blocks.js';
import { loadGraph, loadPlan } from './load-artifacts.js';
import { type ActivityDeps, runStage } from './stage-frame.js';
import { loadPipeline } from './stored-pipeline.js';

/** Cuts the planned denoiser into the blocks that are reconstructed one by one. */
export function createCutBlocks(deps: ActivityDeps): Activities['cutBlocks'] {
  return (rawInput) =>
    runStage(
      deps,
      { stage: 'reconstruct', version: 1, input: cutBlocksInputSchema, key: (input) => ({ cut: input }) },
      rawInput,
      async ({ pipeline, graph, plan }, { store }): Promise<Omit<CutBlocksResult, 'reused' | 'seconds'>> => {
        const { denoiser } = await loadPipeline(store, pipeline);
        const blocks = cutBlocks(await loadGraph(store, graph), await loadPlan(store, plan), planningInputs(denoiser));
        return {
          blocks: await store.putJson('blocks', blocks),
          count: blocks.length,
          summary: `${blocks.length} blocks: ${countsOf(blocks)}`,
        };
      },
    );
}

/** `8 residual, 4 transformer, 14 layer`. */
function countsOf(blocks: readonly Block[]): string {
  const kinds = [...new Set(blocks.map(({ kind }) => kind))];
  return kinds.map((kind) => `${blocks.filter((block) => block.kind === kind).length} ${kind}`).join(', ');
}
