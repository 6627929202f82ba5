import { describe, expect, test } from 'vitest';
import { type DenoiserPairs, pairsByStep, pairsOfEachStep } from '../../../evaluation/sampling/denoiser-pairs.js';
import { float32 } from '../../../models/tensors/tensor.js';

/** Five calls at two steps; row i holds i. */
const PAIRS: DenoiserPairs = {
  triples: [0, 1, 0, 0, 1].map((step, image) => ({ image, step, branch: 0 })),
  timesteps: [900, 100],
  samples: float32([5, 1], [0, 1, 2, 3, 4]),
  outputs: float32([5, 1], [10, 11, 12, 13, 14]),
  conditions: { conditioning: null, negative: null },
};

describe('pairsOfEachStep', () => {
  test('keeps the first pairs of every step, each with its own rows', () => {
    const kept = pairsOfEachStep(PAIRS, 2);
    expect(kept.triples.map(({ image }) => image)).toEqual([0, 2, 1, 4]);
    expect([...kept.samples.data]).toEqual([0, 2, 1, 4]);
    expect([...kept.outputs.data]).toEqual([10, 12, 11, 14]);
    expect(pairsByStep(kept).map(({ indices }) => indices.length)).toEqual([2, 2]);
  });

  test('keeps all of them when there are no more', () => {
    const { triples } = pairsOfEachStep(PAIRS, 3);
    expect(triples.toSorted((a, b) => a.image - b.image)).toEqual(PAIRS.triples);
  });
});
