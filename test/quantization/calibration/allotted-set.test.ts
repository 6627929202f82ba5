import { describe, expect, it } from 'vitest';
import { recipeSchema } from '../../../contracts/recipe.js';
import { readSafetensors, writeSafetensors } from '../../../models/tensors/safetensors.js';
import { zeros } from '../../../models/tensors/tensor.js';
import {
  type CalibrationSet,
  calibrationFromTensors,
  drawnPairs,
  tensorsFromCalibration,
} from '../../../quantization/calibration/calibration-set.js';
import { observedItems } from '../../../quantization/calibration/observe-batch.js';
import { fixedItems, trainingItems } from '../../../quantization/finetuning/finetuning-data.js';

const ALLOTMENT = [
  { trajectory: 3, step: 0 },
  { trajectory: 1, step: 2 },
  { trajectory: 0, step: 2 },
  { trajectory: 4, step: 2 },
];

const ALL: CalibrationSet = {
  timesteps: [999, 500, 10],
  samples: zeros('float32', [5, 3, 1, 2, 2]),
  outputs: zeros('float32', [5, 3, 2, 1, 2, 2]),
  conditioning: zeros('float32', [5, 1, 2]),
  negative: zeros('float32', [1, 1, 2]),
  stepWeights: [1, 1, 1],
};
const SET: CalibrationSet = { ...ALL, allotment: ALLOTMENT };

const pairsOf = (items: readonly { readonly trajectory: number; readonly step: number }[]): string[] =>
  [...new Set(items.map(({ trajectory, step }) => `${trajectory}@${step}`))].sort();
const everyPair = ['0@2', '1@2', '3@0', '4@2'];

describe('a calibration set with allotted samples', () => {
  it('is stored with them', () => {
    const { tensors } = readSafetensors(writeSafetensors(tensorsFromCalibration(SET)));
    expect(calibrationFromTensors(tensors).allotment).toEqual(ALLOTMENT);
    expect(calibrationFromTensors(tensorsFromCalibration(ALL)).allotment).toBeUndefined();
  });

  it('is observed at exactly these pairs, with both branches', () => {
    const items = observedItems(SET, 1);
    expect(items.map((one) => one.length)).toEqual([2, 0, 6]);
    expect(pairsOf(items.flat())).toEqual(everyPair);
  });

  it('is trained on those of the training prompts, every one once an epoch', () => {
    expect(drawnPairs(SET, [0, 1, 2]).length).toBe(2);
    const epoch = [0, 1].flatMap((step) => trainingItems(SET, [0, 1, 2, 3, 4], 4, step, 7));
    expect(epoch).toHaveLength(8);
    expect(pairsOf(epoch)).toEqual(everyPair);
    const training = fixedItems(SET, [0, 1, 2, 3, 4], 6, 'training', 7);
    expect(training).toHaveLength(6);
    expect(pairsOf(training)).toEqual(everyPair);
    expect(new Set(training.map(({ branch }) => branch)).size).toBe(2);
  });

  it('is validated at every step all the same', () => {
    const items = fixedItems(SET, [2], 100, 'validation', 7);
    expect(pairsOf(items)).toEqual(['2@0', '2@1', '2@2']);
  });
});

describe('density-variety in a recipe', () => {
  const problems = (change: object): string[] => {
    const result = recipeSchema.safeParse(change);
    return result.success ? [] : result.error.issues.map(({ message }) => message);
  };

  it('needs as many trajectories as samples, and no table per timestep', () => {
    const calibration = { strategy: 'density-variety', trajectories: 64, samples: 64 };
    expect(problems({ calibration })).toEqual([]);
    expect(problems({ calibration: { ...calibration, samples: 65 } })).toEqual([
      expect.stringMatching(/raise trajectories/),
    ]);
    expect(problems({ calibration, activations: { ranges: 'timestep' } })).toEqual([
      expect.stringMatching(/per timestep/),
    ]);
  });
});
