import type { Score } from '../contracts/score.js';
import { featureHalves, featureRange } from './features/feature-halves.js';
import type { FeatureSet } from './features/feature-set.js';
import { SET_METRICS } from './metrics/set-metrics.js';
import { significant } from './report/format-number.js';
import { type SetScoreRequest, scoreSets } from './score-sets.js';

/** Below this a half of the reference says too little to be a noise floor. */
const FEWEST_IN_A_HALF = 25;

/**
 * Scores against a reference, each distance beside a noise floor: the same distance between two random halves of the reference,
 * what pictures of the reference's own kind score. A distance falls as n grows, and halves are fewer pictures than were scored:
 * a note has the n of the floor, and what as many of the scored pictures are from a half. Too few pictures for halves: no floor.
 */
export async function scoreWithFloor(request: Omit<SetScoreRequest, 'floor' | 'against'>): Promise<Score[]> {
  const [first, second] = featureHalves(request.real);
  const n = Math.min(first.keys.length, request.fake.keys.length);
  if (n < FEWEST_IN_A_HALF) return scoreSets({ ...request, against: 'reference' });
  const { context } = request;
  const { partners: _, ...alone } = context;
  const untested = { ...alone, settings: { ...context.settings, permutations: 0 } };
  const metrics = request.metrics.filter((id) => SET_METRICS.some((metric) => metric.id === id && metric.sides === 2));
  const valuesOf = async (fake: FeatureSet): Promise<ReadonlyMap<string, number | null>> => {
    const sides = { fake: featureRange(fake, 0, n), real: featureRange(second, 0, n), against: 'reference' } as const;
    const scores = await scoreSets({ ...request, ...sides, metrics, context: untested });
    return new Map(scores.map(({ metric, value }) => [metric, value]));
  };
  const floor = await valuesOf(first);
  const alike = await valuesOf(request.fake);
  const scores = await scoreSets({ ...request, against: 'reference', floor: Object.fromEntries(floor) });
  return scores.map((score) => {
    if (score.floor === null) return score;
    const same = alike.get(score.metric) ?? null;
    const note = `floor: two random halves of the reference against each other, n = ${n} each`;
    const beside = same === null ? '' : `; ${n} of the scored pictures are ${significant(same)} from such a half`;
    return { ...score, notes: [...score.notes, `${note}${beside}`] };
  });
}
