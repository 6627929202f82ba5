/** Why a stage's activity computed, or did not. Travels in its result, far below 4 KB. */
export interface StageDecision {
  /** Name of the result in the store. */
  readonly key: string;
  readonly outcome: DecisionOutcome;
  /** When the result was made that was reused, or that is nearest to this one; null when there is none. */
  readonly since: string | null;
  /** What is not as it was in the nearest stored result of the stage; the first few. */
  readonly differences: readonly KeyDifference[];
  /** How many there are besides. */
  readonly moreDifferences: number;
  /** Whether a result that was computed again names the same bytes as the stored one; null: nothing to compare with. */
  readonly equal: boolean | null;
}

/**
 * reused: found in the store · first: nothing of this stage was stored · changed: what was stored was made with other inputs ·
 * lost: it was stored, but its artifacts or its output folder are not as they were · asked: computed again because a person
 * asked for it.
 */
export type DecisionOutcome = 'reused' | 'first' | 'changed' | 'lost' | 'asked';

/** One member of two stage keys. Artifacts are told by their first 12 digits, long values are cut. */
export interface KeyDifference {
  readonly path: string;
  readonly was: string;
  readonly is: string;
}

/** Member of an activity's input that asks for a fresh result: the retry that wants it. The frame takes it out. */
export const RECOMPUTE_FIELD = '$recompute';

/** One line for people. */
export function decisionText(decision: StageDecision): string {
  const day = decision.since === null ? '' : ` of ${decision.since.slice(0, 16).replace('T', ' ')}Z`;
  if (decision.outcome === 'reused') return `reused: the result${day} has the same key`;
  if (decision.outcome === 'first') return 'run, because no result of this stage is stored';
  if (decision.outcome === 'lost') return `run, because what the result${day} made is not whole any more`;
  if (decision.outcome === 'asked') return `run, because it was asked for${comparison(decision.equal)}`;
  const more = decision.moreDifferences === 0 ? '' : ` and ${decision.moreDifferences} more`;
  const differences = decision.differences.map(differenceText).join('; ');
  return `run, because ${differences}${more} (nearest earlier result${day})`;
}

/** Artifacts are told apart by digests: what differs in them is said by the stage that made them. */
function differenceText({ path, was, is }: KeyDifference): string {
  const [before, after] = [ARTIFACT.exec(was), ARTIFACT.exec(is)];
  if (before === null || after === null) return `${path} was ${was}, is ${is}`;
  return `its ${path} is another (${before[1]}, is ${after[1]})`;
}

const ARTIFACT = /^[a-z-]+ ([0-9a-f]{12})$/;

function comparison(equal: boolean | null): string {
  if (equal === null) return '';
  return equal ? '; the same bytes came out' : '; other bytes came out';
}
