import { describe, expect, it } from 'vitest';
import { zeros } from '../../../models/tensors/tensor.js';
import type { CalibrationSet } from '../../../quantization/calibration/calibration-set.js';
import { fixedItems } from '../../../quantization/finetuning/finetuning-data.js';

const TRAJECTORIES = [4, 0, 3];

function calibration(timesteps: number): CalibrationSet {
  const dims = [5, timesteps, 1, 2, 2];
  return {
    timesteps: Array.from({ length: timesteps }, (_, step) => 900 - 100 * step),
    stepWeights: new Array<number>(timesteps).fill(1),
    samples: zeros('float32', dims),
    outputs: zeros('float32', [5, timesteps, 1, 1, 2, 2]),
    conditioning: null,
    negative: null,
  };
}

describe('the fixed items of a validation', () => {
  it('are all there are, once each, when fewer than asked for', () => {
    const items = fixedItems(calibration(2), TRAJECTORIES, 128, 'validation', 1);
    const keys = items.map(({ trajectory, step, branch }) => `${trajectory}/${step}/${branch}`).sort();
    expect(keys).toEqual(['0/0/0', '0/1/0', '3/0/0', '3/1/0', '4/0/0', '4/1/0']);
  });

  it('are as many as asked for otherwise, of every trajectory', () => {
    const items = fixedItems(calibration(8), TRAJECTORIES, 12, 'validation', 1);
    expect(items).toHaveLength(12);
    expect(new Set(items.map(({ trajectory }) => trajectory))).toEqual(new Set(TRAJECTORIES));
  });
});
