import { describe, expect, it } from 'vitest';
import { zeros } from '../../../models/tensors/tensor.js';
import type { CalibrationSet } from '../../../quantization/calibration/calibration-set.js';
import { fixedItems, splitTrajectories, trainingItems } from '../../../quantization/finetuning/finetuning-data.js';

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

describe('the prompts of a calibration set', () => {
  it('are trained on or validated on, never both, and all used', () => {
    const set = { ...calibration(2), samples: zeros('float32', [40, 2, 1, 2, 2]) };
    for (const fraction of [0.02, 0.125, 0.5]) {
      const { training, validation } = splitTrajectories(set, fraction, 3);
      expect([...training, ...validation].sort((a, b) => a - b)).toEqual(Array.from({ length: 40 }, (_, at) => at));
      expect(validation).toHaveLength(Math.max(1, Math.round(40 * fraction)));
      expect(splitTrajectories(set, fraction, 3)).toEqual({ training, validation });
    }
    expect(splitTrajectories(set, 0.125, 4)).not.toEqual(splitTrajectories(set, 0.125, 3));
  });
});

describe('the items of a training step', () => {
  const set = { ...calibration(6), outputs: zeros('float32', [5, 6, 2, 1, 2, 2]) };
  const itemsOf = (step: number, seed = 1) => trainingItems(set, TRAJECTORIES, 4, step, seed);

  it('depend on seed and step alone', () => {
    const forwards = Array.from({ length: 30 }, (_, step) => itemsOf(step));
    const backwards = Array.from({ length: 30 }, (_, index) => itemsOf(29 - index)).reverse();
    expect(backwards).toEqual(forwards);
    expect(Array.from({ length: 30 }, (_, step) => itemsOf(step, 2))).not.toEqual(forwards);
  });

  it('walk all pairs of trajectory and timestep once an epoch, both branches of each, in a new order', () => {
    const pairs = TRAJECTORIES.length * set.timesteps.length;
    const stepsPerEpoch = pairs / 2;
    const epoch = (from: number): string[] =>
      Array.from({ length: stepsPerEpoch }, (_, at) => itemsOf(from * stepsPerEpoch + at))
        .flatMap((items) => items.slice(0, 2))
        .map(({ trajectory, step }) => `${trajectory}/${step}`);
    for (const number of [0, 1, 2]) expect(new Set(epoch(number)).size).toBe(pairs);
    expect(epoch(1)).not.toEqual(epoch(0));
    for (const items of Array.from({ length: stepsPerEpoch }, (_, step) => itemsOf(step))) {
      expect(items.map(({ branch }) => branch)).toEqual([0, 0, 1, 1]);
      expect(items.slice(2).map((item) => ({ ...item, branch: 0 }))).toEqual(items.slice(0, 2));
    }
  });

  it('never show a prompt that is held back', () => {
    const all = { ...set, samples: zeros('float32', [20, 6, 1, 2, 2]) };
    const { training, validation } = splitTrajectories(all, 0.25, 1);
    const seen = new Set(
      Array.from({ length: 200 }, (_, step) => trainingItems(all, training, 4, step, 1)).flatMap((items) =>
        items.map(({ trajectory }) => trajectory),
      ),
    );
    expect(seen).toEqual(new Set(training));
    expect(validation.filter((trajectory) => seen.has(trajectory))).toEqual([]);
  });
});
