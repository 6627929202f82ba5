import type { Activities } from '../contracts/activities.js';
import type { ArtifactRef } from '../contracts/artifact.js';
import { type CaptureBlocksResult, captureBlocksInputSchema } from '../contracts/reconstruction-activities.js';
import type { ReconstructionSettings } from '../contracts/reconstruction-settings.js';
import { inferShapes } from '../models/onnx/shape-inference.js';
import { safetensorsChunks } from '../models/tensors/safetensors.js';
import { elementCount } from '../models/tensors/tensor.js';
import { planningInputs } from '../quantization/plan-denoiser.js';
import {
  boundDims,
  type CaptureOptions,
  captureBlocks,
  itemDims,
  reconstructionItems,
} from '../quantization/rounding/reconstruction/block-data.js';
import type { Block } from '../quantization/rounding/reconstruction/cut-blocks.js';
import { loadBlocks, loadCalibration, loadGraph, loadParameters, loadPlan } from './load-artifacts.js';
import { type ActivityDeps, runStage, type StageContext } from './stage-frame.js';
import { metadataOf } from './stored-block-data.js';

/** Calls of the denoiser in one run. */
const CAPTURE_BATCH = 8;
/** Captured values that are held in memory before they are written. */
const HELD_BYTES = 512 * 2 ** 20;
const BYTES_PER_VALUE = 2;

/** Keeps what enters and leaves some blocks, in the float and in the quantized network. */
export function createCaptureBlocks(deps: ActivityDeps): Activities['captureBlocks'] {
  return (rawInput) =>
    runStage(
      deps,
      {
        stage: 'reconstruct',
        version: 2,
        input: captureBlocksInputSchema,
        key: ({ recipe, parameters, ...input }) => ({
          capture: input,
          // The float network's values do not depend on what is quantized.
          parameters: recipe.reconstruction.inputs === 'float' ? null : parameters,
          settings: decidingSettings(recipe.reconstruction),
        }),
      },
      rawInput,
      async (input, context): Promise<Omit<CaptureBlocksResult, 'reused' | 'seconds'>> => {
        const { store } = context;
        const { set: calibration, denoiser } = await loadCalibration(store, input.calibration);
        const { reconstruction } = input.recipe;
        const blocks = (await loadBlocks(store, input.blocks)).slice(input.from, input.to);
        const options = {
          graph: await loadGraph(store, input.graph),
          plan: await loadPlan(store, input.plan),
          parameters: await loadParameters(store, input.parameters),
          inputs: planningInputs(denoiser),
          denoiser,
          calibration,
          items: reconstructionItems(calibration, reconstruction.samples, reconstruction.seed),
          quantized: reconstruction.inputs === 'float' ? null : { activations: reconstruction.scales !== 'after' },
          batch: Math.max(1, Math.floor(CAPTURE_BATCH / context.microBatchDivisor)),
        };
        const data = await context.withEngine(input.compute, (executor) =>
          captureAll({ ...options, executor }, { blocks, before: input.from }, context),
        );
        const megabytes = data.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0) / 1e6;
        const summary = `${options.items.length} calls seen by ${blocks.length} blocks, ${megabytes.toFixed(0)} MB`;
        return { data, summary };
      },
    );
}

function decidingSettings({ inputs, scales, samples, seed }: ReconstructionSettings): object {
  return { inputs, activations: inputs === 'float' ? null : scales !== 'after', samples, seed };
}

/** Captures as many blocks at once as fit in memory; every such part is a checkpoint. */
async function captureAll(
  options: Omit<CaptureOptions, 'blocks'>,
  { blocks, before }: { readonly blocks: readonly Block[]; readonly before: number },
  context: StageContext,
): Promise<ArtifactRef[]> {
  const saved = await context.checkpoint.load();
  const data = saved === undefined ? [] : (JSON.parse(new TextDecoder().decode(saved)) as ArtifactRef[]);
  const parts = partsOf(options, blocks);
  const passes = options.quantized === null ? 1 : 2;
  const total = blocks.length * passes * options.items.length;
  let first = 0;
  for (const part of parts) {
    const [from, to] = [first, first + part.length];
    first = to;
    if (data.length >= to) continue;
    let pass = 0;
    const captured = await captureBlocks({
      ...options,
      blocks: part,
      onBatch: async (done, items) => {
        context.progress({
          done: (from * passes + part.length * pass) * items + part.length * done,
          total,
          unit: 'block inputs',
          note: `blocks ${before + from + 1} to ${before + to}`,
        });
        if (done === items) pass = Math.min(passes - 1, pass + 1);
        await context.breathe();
      },
    });
    for (const tensors of captured.blocks) {
      const facts = {
        storage: captured.storage,
        timesteps: options.items.map(({ step }) => options.calibration.timesteps[step] ?? 0),
        inputs: options.inputs,
        item: itemDims(options.calibration),
      };
      data.push(await context.store.putStream('block-data', safetensorsChunks(tensors, metadataOf(facts))));
      await context.breathe();
    }
    await context.checkpoint.save(new TextEncoder().encode(JSON.stringify(data)));
  }
  return data;
}

/** Blocks in order, cut where the next one would not fit in memory with those before. */
function partsOf(
  { graph, inputs, calibration, items }: Omit<CaptureOptions, 'blocks'>,
  blocks: readonly Block[],
): Block[][] {
  const shapes = inferShapes(graph, boundDims(itemDims(calibration), inputs, 1));
  const bytesOf = ({ inputs: entering, outputs }: Block): number =>
    [...entering, ...entering, ...outputs].reduce(
      (sum, value) => sum + elementCount(shapes.dimsOf(value)) * BYTES_PER_VALUE * items.length,
      0,
    );
  const parts: Block[][] = [];
  let held = HELD_BYTES;
  for (const block of blocks) {
    const bytes = bytesOf(block);
    if (held + bytes > HELD_BYTES) {
      parts.push([]);
      held = 0;
    }
    parts.at(-1)?.push(block);
    held += bytes;
  }
  return parts;
}
