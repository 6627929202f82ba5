import type { Runnable } from '../../models/executor.js';
import { floatOutput } from '../../models/pipelines/encode-prompts.js';
import type { Pipeline } from '../../models/pipelines/pipeline.js';
import { ErrorEnergy } from '../metrics/error-energy.js';
import { relativeMseOf } from '../metrics/relative-mse.js';
import type { LayerTimestepErrors } from '../report/report-data.js';
import { type DenoiserPairs, feedsOfPairs, pairsByStep } from './denoiser-pairs.js';

/** A layer's output under its name in each of the two networks. */
export interface ComparedLayer {
  readonly name: string;
  readonly float: string;
  readonly candidate: string;
}

export interface LayerErrorOptions {
  /** Both networks, with the layers' outputs among their outputs. */
  readonly float: Runnable;
  readonly candidate: Runnable;
  readonly pipeline: Pipeline;
  readonly pairs: DenoiserPairs;
  readonly layers: readonly ComparedLayer[];
  /** Calls per timestep. */
  readonly rows: number;
  readonly onProgress?: (done: number, total: number) => Promise<void>;
}

export interface LayerErrors {
  readonly layers: readonly { readonly name: string; readonly error: number }[];
  readonly layerTimesteps: LayerTimestepErrors;
}

/**
 * Σ(y − ŷ)² / Σy² of every layer's output when both networks get the same inputs: errors of earlier layers are part of it, as
 * they are when pictures are made.
 */
export async function layerErrors(options: LayerErrorOptions): Promise<LayerErrors> {
  const { pairs, layers, rows } = options;
  const steps = pairsByStep(pairs);
  const totals = layers.map(() => new ErrorEnergy());
  const errors: number[][] = layers.map(() => []);
  for (const [done, { indices }] of steps.entries()) {
    const energies = await energiesOf(options, indices.slice(0, rows));
    for (const [layer, energy] of energies.entries()) {
      totals[layer]?.merge(energy);
      errors[layer]?.push(relativeMseOf(energy));
    }
    await options.onProgress?.(done + 1, steps.length);
  }
  return {
    layers: layers.map(({ name }, index) => ({ name, error: relativeMseOf(totals[index] ?? new ErrorEnergy()) })),
    layerTimesteps: {
      layers: layers.map(({ name }) => name),
      timesteps: steps.map(({ step }) => pairs.timesteps[step] ?? 0),
      errors,
    },
  };
}

async function energiesOf(options: LayerErrorOptions, indices: readonly number[]): Promise<ErrorEnergy[]> {
  const { float, candidate, pipeline, pairs, layers } = options;
  const feeds = feedsOfPairs(pipeline, pairs, indices);
  const unique = (names: readonly string[]): string[] => [...new Set(names)];
  const expected = await float.run(feeds, unique(layers.map((layer) => layer.float)));
  const found = await candidate.run(feeds, unique(layers.map((layer) => layer.candidate)));
  return layers.map((layer) =>
    new ErrorEnergy().add(floatOutput(expected, layer.float), floatOutput(found, layer.candidate)),
  );
}
