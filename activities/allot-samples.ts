import { NibbleflowError } from '../contracts/errors.js';
import type { Recipe } from '../contracts/recipe.js';
import type { Runnable } from '../models/executor.js';
import { writeModel } from '../models/onnx/model-proto.js';
import type { Pipeline } from '../models/pipelines/pipeline.js';
import { allottedPairs } from '../quantization/calibration/allotted-pairs.js';
import type { CalibrationPair } from '../quantization/calibration/calibration-set.js';
import { type Allotment, allotSteps } from '../quantization/calibration/density-variety.js';
import { middleAttention } from '../quantization/calibration/middle-attention.js';
import { recordFeatures } from '../quantization/calibration/record-features.js';
import { transformDenoiser } from '../quantization/transforms/transform-denoiser.js';
import type { EngineExecutor } from './engine/engine-executor.js';

/** Trajectories whose features say how alike timesteps are. */
export const FEATURE_TRAJECTORIES = 8;

export interface AllotSamplesOptions {
  readonly executor: EngineExecutor;
  readonly pipeline: Pipeline;
  readonly calibration: Recipe['calibration'];
  /** How many trajectories there are to read. */
  readonly trajectories: number;
  /** Indices of the kept sampler steps, which samples are allotted to. */
  readonly kept: readonly number[];
  readonly breathe: () => Promise<void>;
  /** Walks FEATURE_TRAJECTORIES trajectories with the denoiser it is given. */
  readonly walk: (denoiser: Runnable) => Promise<unknown>;
}

/**
 * Walks a few float trajectories, looks at the middle attention's input at every step, and decides which trajectory is read at
 * which step. @throws RangeError for a denoiser without self-attention, which refuse-allotment.ts keeps out
 */
export async function allotSamples(
  options: AllotSamplesOptions,
): Promise<{ readonly pairs: CalibrationPair[]; readonly allotment: Allotment }> {
  const { executor, pipeline, calibration, trajectories, kept, walk } = options;
  const samples = calibration.samples ?? trajectories;
  if (samples > trajectories) {
    throw new NibbleflowError('InvalidRecipe', `${samples} samples need as many prompts, there are ${trajectories}`, {
      where: 'calibration.samples',
      fix: 'Give more prompts, or ask for fewer samples.',
    });
  }
  const { graph, shapes } = transformDenoiser(pipeline, []);
  const feature = middleAttention(graph, shapes);
  if (feature === null) throw new RangeError('the plan let a denoiser without self-attention pass');
  if (!graph.outputs.some(({ name }) => name === feature.value)) {
    graph.outputs.push({ name: feature.value, type: 'float32', shape: null });
  }
  const denoiser = await executor.open(writeModel(graph));
  const features = await recordFeatures(denoiser, feature.value, walk).finally(() => denoiser.release());
  const { densityRadius: radius, varietyWeight, seed } = calibration;
  const allotment = await allotSteps(
    {
      features: kept.flatMap((step) => features[step] ?? []),
      channelAxis: feature.channelAxis,
      radius,
      varietyWeight,
      samples,
    },
    options.breathe,
  );
  return { pairs: allottedPairs(allotment.counts, trajectories, seed), allotment };
}
