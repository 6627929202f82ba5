import { permutation } from '../../models/tensors/random.js';
import type { CalibrationPair } from './calibration-set.js';

/** Stream of the calibration seed that gives trajectories their steps. */
const ASSIGNMENT_STREAM = 30;

/**
 * Which trajectory is read at which step: as many pairs per step as `counts` says, every pair of another trajectory.
 * @throws RangeError when there are more samples than trajectories
 */
export function allottedPairs(counts: readonly number[], trajectories: number, seed: number): CalibrationPair[] {
  const samples = counts.reduce((sum, count) => sum + count, 0);
  if (samples > trajectories)
    throw new RangeError(`${samples} samples need as many trajectories, there are ${trajectories}`);
  const order = permutation(seed, ASSIGNMENT_STREAM, trajectories);
  const steps = counts.flatMap((count, step) => new Array<number>(count).fill(step));
  return steps.map((step, index) => ({ trajectory: order[index] ?? 0, step }));
}
