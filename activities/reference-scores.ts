import type { z } from 'zod';
import type { scoreEvaluationInputSchema } from '../contracts/evaluation-activities.js';
import type { Score } from '../contracts/score.js';
import { scoreAgainstStatistics } from '../evaluation/score-against-statistics.js';
import { type SetScoreRequest, scoreSets } from '../evaluation/score-sets.js';
import { openFeatureSet } from './features/stored-feature-set.js';
import { openStatisticsFile } from './statistics-file.js';
import type { LocalStore } from './store/local-store.js';

export interface ReferenceScoring {
  readonly store: LocalStore;
  readonly reference: z.output<typeof scoreEvaluationInputSchema>['reference'];
  readonly request: Omit<SetScoreRequest, 'real' | 'against'>;
  /** By metric, between sets of as many pictures as are evaluated. */
  readonly floor: Readonly<Record<string, number | null>>;
  /** Metrics of one set alone are among other scores already. */
  readonly isAloneCounted: boolean;
}

/** Scores against a reference's features, or its statistics; empty without one. */
export async function referenceScores(scoring: ReferenceScoring): Promise<Score[]> {
  const { store, reference, request } = scoring;
  if (reference === null) return [];
  if (reference.features !== null) {
    const real = await openFeatureSet(store, reference.features);
    return kept(await scoreSets({ ...request, real, against: 'reference' }), scoring);
  }
  if (reference.statistics === null) return [];
  const { statistics, close } = await openStatisticsFile(await store.path(reference.statistics));
  try {
    const { rows } = statistics;
    const scores =
      rows === null
        ? await scoreAgainstStatistics({ ...request, statistics })
        : await scoreSets({ ...request, real: rows, against: 'reference' });
    return kept(scores, scoring);
  } finally {
    await close();
  }
}

function kept(scores: readonly Score[], { floor, reference, isAloneCounted }: ReferenceScoring): Score[] {
  return scores
    .filter(({ against }) => against !== 'none' || !isAloneCounted)
    .map((score) => (score.against === 'reference' ? besideReference(score, floor, reference?.notes ?? []) : score));
}

/** The noise floor was measured between sets of n pictures: it stands beside distances to as many only. */
function besideReference(
  score: Score,
  floor: Readonly<Record<string, number | null>>,
  notes: readonly string[],
): Score {
  const isAlike = score.referenceN === score.n;
  const missing = isAlike ? [] : ['no noise floor: the reference has another number of pictures'];
  return {
    ...score,
    floor: isAlike ? (floor[score.metric] ?? null) : null,
    notes: [...score.notes, ...missing, ...notes],
  };
}
