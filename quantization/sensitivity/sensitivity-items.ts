import type { Feeds } from '../../models/executor.js';
import { denoiserFeeds } from '../../models/pipelines/denoiser-feeds.js';
import type { Denoiser } from '../../models/pipelines/pipeline.js';
import { permutation } from '../../models/tensors/random.js';
import {
  batchOf,
  branchCount,
  type CalibrationItem,
  type CalibrationSet,
  trajectoryCount,
} from '../calibration/calibration-set.js';

/** Stream of the calibration seed that chooses the trajectories. */
const CHOICE_STREAM = 20;

/**
 * A draw of `count` calls of the denoiser from the calibration set: pairs (trajectory, timestep), each with all guidance
 * branches, timesteps spread evenly, every pair of another trajectory as long as there are enough. A function of its
 * arguments alone. `count` is rounded up to whole pairs.
 */
export function sensitivityItems(set: CalibrationSet, count: number, seed: number): CalibrationItem[][] {
  const branches = branchCount(set);
  const steps = set.timesteps.length;
  const trajectories = trajectoryCount(set);
  const pairs = Math.min(Math.ceil(count / branches), trajectories * steps);
  const order = permutation(seed, CHOICE_STREAM, trajectories);
  return Array.from({ length: pairs }, (_, index) => {
    const item = { trajectory: order[index % trajectories] ?? 0, step: Math.floor((index * steps) / pairs) };
    return Array.from({ length: branches }, (_unused, branch) => ({ ...item, branch }));
  });
}

/** Calls that are made together: pairs of the draw with all their branches. */
export interface SensitivityBatch {
  readonly items: readonly CalibrationItem[];
  readonly feeds: Feeds;
}

/**
 * Batches of at most `size` calls (but at least one pair). Denoisers that take one timestep per call get batches of one
 * timestep.
 */
export function sensitivityBatches(
  set: CalibrationSet,
  pairs: readonly (readonly CalibrationItem[])[],
  denoiser: Denoiser,
  size: number,
): SensitivityBatch[] {
  const mixes = denoiser.timestepRows === 'batch' || denoiser.timestepRows === 'one-or-batch';
  const ordered = pairs.toSorted((a, b) => (a[0]?.step ?? 0) - (b[0]?.step ?? 0));
  const groups: CalibrationItem[][] = [];
  for (const pair of ordered) {
    const last = groups.at(-1);
    const fits = last !== undefined && last.length + pair.length <= size && (mixes || last[0]?.step === pair[0]?.step);
    if (fits) last.push(...pair);
    else groups.push([...pair]);
  }
  return groups.map((items) => {
    const batch = batchOf(set, items);
    return { items, feeds: denoiserFeeds(denoiser, { ...batch, timestep: batch.timesteps, classLabels: null }) };
  });
}
