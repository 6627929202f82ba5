import { describe, expect, it } from 'vitest';
import { zeros } from '../../../../models/tensors/tensor.js';
import type { CalibrationPair, CalibrationSet } from '../../../../quantization/calibration/calibration-set.js';
import { reconstructionItems } from '../../../../quantization/rounding/reconstruction/block-data.js';

const TRAJECTORIES = 6;
const STEPS = 4;

function setOf(allotment?: readonly CalibrationPair[]): CalibrationSet {
  return {
    timesteps: [900, 600, 300, 0],
    samples: zeros('float32', [TRAJECTORIES, STEPS, 1, 2, 2]),
    outputs: zeros('float32', [TRAJECTORIES, STEPS, 2, 1, 2, 2]),
    conditioning: null,
    negative: null,
    stepWeights: [1, 1, 1, 1],
    allotment,
  };
}

const key = ({ trajectory, step, branch }: { trajectory: number; step: number; branch: number }): string =>
  `${trajectory}/${step}/${branch}`;

describe('the calls that blocks are captured at', () => {
  it('are spread evenly over timesteps and branches', () => {
    const items = reconstructionItems(setOf(), 16, 3);
    expect(items).toHaveLength(16);
    for (let step = 0; step < STEPS; step += 1) {
      const count = items.filter((item) => item.step === step).length;
      expect(Math.abs(count - 4), `step ${step}`).toBeLessThanOrEqual(1);
    }
    expect(new Set(items.map(({ trajectory }) => trajectory)).size).toBe(TRAJECTORIES);
    for (const branch of [0, 1]) expect(items.filter((item) => item.branch === branch)).toHaveLength(8);
    expect(reconstructionItems(setOf(), 16, 3)).toEqual(items);
    expect(reconstructionItems(setOf(), 16, 4)).not.toEqual(items);
  });

  it('are allotted pairs where samples were allotted, each branch of each at most once', () => {
    const allotment = [0, 1, 2, 3, 4].map((trajectory) => ({ trajectory, step: trajectory === 4 ? 0 : 3 }));
    const some = reconstructionItems(setOf(allotment), 5, 3);
    expect(new Set(some.map(({ trajectory }) => trajectory))).toEqual(new Set([0, 1, 2, 3, 4]));
    const all = reconstructionItems(setOf(allotment), 100, 3);
    expect(new Set(all.map(key)).size).toBe(10);
    expect(all).toHaveLength(10);
    for (const { trajectory, step } of all) expect(step).toBe(trajectory === 4 ? 0 : 3);
  });
});
