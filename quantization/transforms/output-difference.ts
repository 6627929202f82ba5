import type { Executor, Feeds, Runnable } from '../../models/executor.js';
import type { Graph } from '../../models/onnx/graph.js';
import { writeModel } from '../../models/onnx/model-proto.js';
import { denoiserDims } from '../../models/pipelines/denoiser-dims.js';
import { denoiserFeeds } from '../../models/pipelines/denoiser-feeds.js';
import { floatOutput } from '../../models/pipelines/encode-prompts.js';
import { openComponent } from '../../models/pipelines/open-component.js';
import type { Pipeline } from '../../models/pipelines/pipeline.js';
import { gaussianTensor } from '../../models/tensors/random.js';
import type { Float32Tensor } from '../../models/tensors/tensor.js';

/** Shares of the training timesteps at which outputs are compared. */
const TIMESTEP_SHARES = [0.02, 0.5, 0.98] as const;
const SAMPLES = 2;
const SEED = 0;

/**
 * How far a transformed denoiser is from the exported one: max|y − y′| / max|y| over random inputs at three timesteps.
 * NaN anywhere gives NaN.
 */
export async function outputDifference(executor: Executor, pipeline: Pipeline, transformed: Graph): Promise<number> {
  const before = await openComponent(executor, pipeline.files, pipeline.denoiser);
  const after = await executor.open(writeModel(transformed));
  try {
    let largest = 0;
    for (const [index, share] of TIMESTEP_SHARES.entries()) {
      const feeds = randomFeeds(pipeline, transformed, index, Math.round(share * (pipeline.trainTimesteps - 1)));
      const difference = relativeDifference(
        await outputOf(before, pipeline, feeds),
        await outputOf(after, pipeline, feeds),
      );
      largest = Math.max(largest, difference);
    }
    return largest;
  } finally {
    await before.release();
    await after.release();
  }
}

async function outputOf(runnable: Runnable, pipeline: Pipeline, feeds: Feeds): Promise<Float32Tensor> {
  const { output } = pipeline.denoiser;
  return floatOutput(await runnable.run(feeds, [output]), output);
}

function randomFeeds(pipeline: Pipeline, graph: Graph, stream: number, timestep: number): Feeds {
  const { denoiser } = pipeline;
  const dims = denoiserDims(pipeline, graph, SAMPLES);
  const random = (name: string | null, offset: number): Float32Tensor | null =>
    name === null ? null : gaussianTensor(SEED, 2 * stream + offset, dims[name] ?? []);
  const labels = denoiser.inputs.classLabels === null ? null : new Array<number>(SAMPLES).fill(0);
  return denoiserFeeds(denoiser, {
    sample: gaussianTensor(SEED, 2 * stream, dims[denoiser.inputs.sample] ?? []),
    timestep,
    conditioning: random(denoiser.inputs.conditioning, 1),
    classLabels: labels,
  });
}

function relativeDifference(before: Float32Tensor, after: Float32Tensor): number {
  if (before.data.length !== after.data.length) return Number.NaN;
  let difference = 0;
  let size = 0;
  for (const [index, value] of before.data.entries()) {
    const distance = Math.abs(value - (after.data[index] ?? Number.NaN));
    difference = Math.max(difference, distance);
    size = Math.max(size, Math.abs(value));
  }
  return difference / Math.max(size, Number.MIN_VALUE);
}
