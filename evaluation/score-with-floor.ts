import type { Score } from '../contracts/score.js';
import { featureHalves } from './features/feature-halves.js';
import { type SetScoreRequest, scoreSets } from './score-sets.js';

/** Below this a half of the reference says too little to be a noise floor. */
const FEWEST_IN_A_HALF = 25;

/**
 * Scores against a reference, each distance beside the same distance between two random halves of the reference: what pictures
 * of the reference's own kind score at that number. Too few pictures for halves: no floor.
 */
export async function scoreWithFloor(request: Omit<SetScoreRequest, 'floor' | 'against'>): Promise<Score[]> {
  const [first, second] = featureHalves(request.real);
  const n = first.keys.length;
  if (n < FEWEST_IN_A_HALF) return scoreSets({ ...request, against: 'reference' });
  const { context } = request;
  const settings = { ...context.settings, permutations: 0 };
  const { partners: _, ...alone } = context;
  const halves = await scoreSets({
    ...{ ...request, fake: first, real: second, against: 'reference' },
    context: { ...alone, settings },
  });
  const floor = Object.fromEntries(halves.map(({ metric, value }) => [metric, value]));
  const scores = await scoreSets({ ...request, against: 'reference', floor });
  const note = `floor: two random halves of the reference against each other, n = ${n} each`;
  return scores.map((score) => (score.floor === null ? score : { ...score, notes: [...score.notes, note] }));
}
