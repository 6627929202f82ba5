import type { Feeds, Runnable } from '../../models/executor.js';
import { denoiserFeeds } from '../../models/pipelines/denoiser-feeds.js';
import type { Conditions } from '../../models/pipelines/encode-conditions.js';
import { floatOutput } from '../../models/pipelines/encode-prompts.js';
import type { Pipeline } from '../../models/pipelines/pipeline.js';
import { firstChannels } from '../../models/pipelines/sample-latents.js';
import { concatRows, type Float32Tensor, sliceRows } from '../../models/tensors/tensor.js';
import { ErrorEnergy } from '../metrics/error-energy.js';
import type { EvaluationTriple } from './evaluation-triples.js';

/** Calls of the denoiser on float trajectories, with what the float denoiser said. */
export interface DenoiserPairs {
  readonly triples: readonly EvaluationTriple[];
  /** Of the sampler's steps. */
  readonly timesteps: readonly number[];
  /** [P, C, H, W] */
  readonly samples: Float32Tensor;
  readonly outputs: Float32Tensor;
  readonly conditions: Conditions;
}

/** Indices of the pairs, a list per sampler step that has some, in the order of the steps. */
export function pairsByStep(pairs: DenoiserPairs): { readonly step: number; readonly indices: readonly number[] }[] {
  const all = pairs.triples.map((triple, index) => ({ step: triple.step, index }));
  return pairs.timesteps
    .map((_, step) => ({ step, indices: all.filter((one) => one.step === step).map(({ index }) => index) }))
    .filter(({ indices }) => indices.length > 0);
}

/** The first pairs of each step, at most `calls` of them. */
export function pairsOfEachStep(pairs: DenoiserPairs, calls: number): DenoiserPairs {
  const kept = pairsByStep(pairs).flatMap(({ indices }) => indices.slice(0, calls));
  const rows = (value: Float32Tensor): Float32Tensor => concatRows(kept.map((row) => sliceRows(value, row, row + 1)));
  return {
    ...pairs,
    triples: kept.flatMap((index) => pairs.triples[index] ?? []),
    samples: rows(pairs.samples),
    outputs: rows(pairs.outputs),
  };
}

/** Feeds of pairs of one step. */
export function feedsOfPairs(pipeline: Pipeline, pairs: DenoiserPairs, indices: readonly number[]): Feeds {
  const { conditioning, negative } = pairs.conditions;
  const conditionOf = (index: number): Float32Tensor[] => {
    const { image = 0, branch = 0 } = pairs.triples[index] ?? {};
    if (conditioning === null) return [];
    return [negative !== null && branch === 0 ? negative : sliceRows(conditioning, image, image + 1)];
  };
  const conditions = indices.flatMap(conditionOf);
  return denoiserFeeds(pipeline.denoiser, {
    sample: concatRows(indices.map((index) => sliceRows(pairs.samples, index, index + 1))),
    timestep: pairs.timesteps[pairs.triples[indices[0] ?? 0]?.step ?? 0] ?? 0,
    conditioning: conditions.length === 0 ? null : concatRows(conditions),
    classLabels: null,
  });
}

export interface DenoiserErrorOptions {
  readonly batchSize: number;
  readonly onProgress?: (done: number) => Promise<void>;
  /** Is told what pair `index` adds to the sums. */
  readonly onPair?: (index: number, energy: ErrorEnergy) => void;
}

/** Σ(y − ŷ)² and Σy² sums of a denoiser's outputs over all pairs, run in batches of one step each. */
export async function denoiserError(
  denoiser: Runnable,
  pipeline: Pipeline,
  pairs: DenoiserPairs,
  options: DenoiserErrorOptions,
): Promise<ErrorEnergy> {
  const energy = new ErrorEnergy();
  const { output } = pipeline.denoiser;
  let done = 0;
  for (const { indices } of pairsByStep(pairs)) {
    for (let start = 0; start < indices.length; start += options.batchSize) {
      const batch = indices.slice(start, start + options.batchSize);
      const found = await denoiser.run(feedsOfPairs(pipeline, pairs, batch), [output]);
      const said = concatRows(batch.map((index) => sliceRows(pairs.outputs, index, index + 1)));
      const answer = firstChannels(floatOutput(found, output), pipeline.denoiser);
      energy.add(said, answer);
      for (const [row, index] of batch.entries()) {
        options.onPair?.(index, new ErrorEnergy().add(sliceRows(said, row, row + 1), sliceRows(answer, row, row + 1)));
      }
      done += batch.length;
      await options.onProgress?.(done);
    }
  }
  return energy;
}
