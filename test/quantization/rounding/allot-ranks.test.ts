import { describe, expect, test } from 'vitest';
import { uniforms } from '../../../models/tensors/random.js';
import { allotRanks, type RankCandidate } from '../../../quantization/rounding/allot-ranks.js';

function candidate(gains: number[], macsPerRank: number, maxRank = gains.length): RankCandidate {
  return { gains: Float64Array.from(gains), macsPerRank, maxRank };
}

function worth(candidates: readonly RankCandidate[], ranks: readonly number[]): number {
  return candidates.reduce(
    (sum, { gains }, index) => sum + gains.slice(0, ranks[index]).reduce((part, gain) => part + gain, 0),
    0,
  );
}

/** The most that any ranks within the budget take off the error, by trying them all. */
function bruteForce(candidates: readonly RankCandidate[], budget: number): number {
  const [first, ...rest] = candidates;
  if (first === undefined) return 0;
  let best = 0;
  for (let rank = 0; rank <= first.maxRank && rank * first.macsPerRank <= budget; rank += 1) {
    best = Math.max(best, worth([first], [rank]) + bruteForce(rest, budget - rank * first.macsPerRank));
  }
  return best;
}

describe('ranks under a budget', () => {
  test('go where they take most off the error per multiply-add', () => {
    const candidates = [candidate([10, 1], 1), candidate([16, 16, 1], 2), candidate([3, 2, 1], 1)];
    expect(allotRanks(candidates, 6)).toEqual([1, 2, 1]);
    expect(allotRanks(candidates, 0)).toEqual([0, 0, 0]);
    expect(allotRanks(candidates, 1e9)).toEqual([2, 3, 3]);
  });

  test('never exceed the budget, the layer or its bound; a rank that takes nothing off is not given', () => {
    expect(allotRanks([candidate([5, 4, 3, 0, 0], 1, 2)], 100)).toEqual([2]);
    expect(allotRanks([candidate([5, 4, 3, 0, 0], 1)], 100)).toEqual([3]);
    expect(allotRanks([candidate([5], 7)], 6.9)).toEqual([0]);
  });

  test('equal costs: the greedy choice is the best of all choices', () => {
    for (let round = 0; round < 20; round += 1) {
      const draws = uniforms(round, 1, 12);
      const candidates = [0, 4, 8].map((from) =>
        candidate(
          [...draws.slice(from, from + 4)].sort((a, b) => b - a),
          1,
        ),
      );
      for (let budget = 0; budget <= 12; budget += 1) {
        const ranks = allotRanks(candidates, budget);
        expect(ranks.reduce((sum, rank) => sum + rank, 0)).toBeLessThanOrEqual(budget);
        expect(worth(candidates, ranks)).toBeCloseTo(bruteForce(candidates, budget), 12);
      }
    }
  });
});
