/** A layer that may get a side branch. */
export interface RankCandidate {
  /** What each further rank takes off the error, falling. */
  readonly gains: Float64Array;
  /** Multiply-adds of one rank. */
  readonly macsPerRank: number;
  readonly maxRank: number;
}

/**
 * Ranks under a budget of multiply-adds: one rank after the other goes to the layer where it takes most off the error per
 * multiply-add, until none fits. Gains fall within a layer, so that is the best choice up to the last rank (the fractional
 * knapsack; Dantzig 1957). Ties go to the earlier layer.
 */
export function allotRanks(candidates: readonly RankCandidate[], budget: number): number[] {
  const ranks = candidates.map(() => 0);
  const closed = new Set<number>();
  let left = budget;
  for (;;) {
    const best = mostWorth(candidates, ranks, closed);
    if (best === null) return ranks;
    const { macsPerRank, maxRank } = candidates[best] as RankCandidate;
    if (macsPerRank > left || (ranks[best] as number) >= maxRank) closed.add(best);
    else {
      ranks[best] = (ranks[best] as number) + 1;
      left -= macsPerRank;
    }
  }
}

function mostWorth(
  candidates: readonly RankCandidate[],
  ranks: readonly number[],
  closed: ReadonlySet<number>,
): number | null {
  let best: number | null = null;
  let bestWorth = 0;
  candidates.forEach(({ gains, macsPerRank }, index) => {
    const worth = (gains[ranks[index] as number] ?? 0) / macsPerRank;
    if (closed.has(index) || !(worth > bestWorth)) return;
    best = index;
    bestWorth = worth;
  });
  return best;
}
