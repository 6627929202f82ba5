import type { Activities } from '../contracts/activities.js';
import { NibbleflowError } from '../contracts/errors.js';
import { type ReconstructBlockResult, reconstructBlockInputSchema } from '../contracts/reconstruction-activities.js';
import { writeSafetensors } from '../models/tensors/safetensors.js';
import { blockCheckpoint, blockStateFrom } from '../quantization/rounding/reconstruction/block-checkpoint.js';
import { boundDims } from '../quantization/rounding/reconstruction/block-data.js';
import {
  type BlockResult,
  type ReconstructOptions,
  reconstructBlock,
} from '../quantization/rounding/reconstruction/reconstruct-block.js';
import { loadBlocks, loadGraph, loadParameters, loadPlan } from './load-artifacts.js';
import { type ActivityDeps, runStage, type StageContext } from './stage-frame.js';
import { StoredBlockData } from './stored-block-data.js';

/** Learns how the weights of one block round; resumes from the last checkpoint as if nothing had happened. */
export function createReconstructBlock(deps: ActivityDeps): Activities['reconstructBlock'] {
  return (rawInput) =>
    runStage(
      deps,
      {
        stage: 'reconstruct',
        version: 2,
        input: reconstructBlockInputSchema,
        key: ({ recipe, ...input }) => {
          const { enabled: _, wave: _wave, samples: _samples, ...settings } = recipe.reconstruction;
          return { train: input, settings };
        },
      },
      rawInput,
      async (input, context): Promise<Omit<ReconstructBlockResult, 'reused' | 'seconds'>> => {
        const { store } = context;
        const settings = input.recipe.reconstruction;
        refuseSmallerBatch(context.microBatchDivisor, settings.batchSize);
        const blocks = await loadBlocks(store, input.blocks);
        const block = blocks[input.block];
        if (block === undefined) throw new RangeError(`there is no block ${input.block} of ${blocks.length}`);
        const graph = await loadGraph(store, input.graph);
        const plan = await loadPlan(store, input.plan);
        const parameters = await loadParameters(store, input.parameters);
        const data = await StoredBlockData.open(store, input.data);
        const { inputs, item } = data.facts;
        const options = {
          ...{ graph, plan, parameters, block, inputs, data, settings },
          boundFor: (batch: number) => boundDims(item, inputs, batch),
        };
        const note = `block ${input.block + 1} of ${blocks.length}, ${block.name}`;
        const run = (executor: ReconstructOptions['executor']) => reconstruct({ ...options, executor }, note, context);
        const result = await context.withEngine(input.compute, run).finally(() => data.close());
        const { before, after } = result;
        return {
          trained: await store.put('trained-block', writeSafetensors(new Map(result.trained))),
          ...{ before, after },
          summary: `${block.name}: held-back output error ${percent(before)} → ${percent(after)}`.slice(0, 200),
        };
      },
    );
}

/** A smaller batch would be another training: the person decides, instead of retries that run out of memory alike. */
function refuseSmallerBatch(divisor: number, batchSize: number): void {
  if (divisor === 1) return;
  throw new NibbleflowError('InvalidRecipe', 'reconstruction ran out of memory', {
    where: `reconstruction.batchSize ${batchSize}`,
    fix: `Free memory, or choose a smaller batch: --set reconstruction.batchSize=${Math.max(1, Math.floor(batchSize / 2))}.`,
  });
}

async function reconstruct(options: ReconstructOptions, note: string, context: StageContext): Promise<BlockResult> {
  const saved = await context.checkpoint.load();
  const resume = saved === undefined ? undefined : blockStateFrom(saved);
  const { steps } = options.settings;
  const done = resume === undefined ? 0 : resume.phase * steps + resume.step;
  const resumed = resume === undefined ? {} : { resumedAt: done };
  context.progress({ done, total: steps, unit: 'steps', note: note.slice(0, 200), ...resumed });
  await context.breathe();
  return reconstructBlock({
    ...options,
    ...(resume === undefined ? {} : { resume }),
    onStep: async (progress, snapshot) => {
      const text = `${note}: error ${progress.error.toPrecision(3)}`;
      context.progress({ done: progress.done, total: progress.total, unit: 'steps', note: text.slice(0, 200) });
      await context.checkpoint.offer(async () => blockCheckpoint(await snapshot()));
    },
  });
}

function percent(share: number): string {
  return `${(100 * share).toPrecision(3)} %`;
}
