/**
 * Two evaluations side by side. A difference is right − left. Its interval is Student's t of the differences picture by picture
 * where both sides have them for equal prompts, seeds, steps and guidance; else it is made from both intervals as of
 * independent estimates: δ ± √(h₁² + h₂²) with h the half widths, which for equal coverage is Welch's with many degrees of freedom.
 */
import type { PictureScores } from '../../contracts/picture-scores.js';
import type { Score } from '../../contracts/score.js';
import { pairedInterval } from '../statistics/paired-interval.js';
import type { ComparedSide, Comparison, ScoreDifference } from './comparison.js';
import { differingSettings } from './differing-settings.js';
import { protocolWarnings, unlikeReasons } from './unlike-protocols.js';

const LEVEL = 0.95;

type Delta = Pick<ScoreDifference, 'delta' | 'low' | 'high' | 'level' | 'interval'>;

const NO_DELTA: Delta = { delta: null, low: null, high: null, level: null, interval: null };

/** What differs between two sides; scores of unlike protocols are shown but not subtracted, with the reason. */
export function compareSides(left: ComparedSide, right: ComparedSide): Comparison {
  const pairs = matched(left.scores, right.scores);
  const scores = pairs.map(([a, b]) => differenceOf(a, b, [left, right]));
  const used = new Set(pairs.flat());
  return {
    schemaVersion: 1,
    left: left.label,
    right: right.label,
    settings: differingSettings(left.settings, right.settings),
    scores,
    onlyLeft: left.scores.filter((score) => !used.has(score)),
    onlyRight: right.scores.filter((score) => !used.has(score)),
    bytes: { left: left.bytes, right: right.bytes },
    seconds: { left: left.seconds, right: right.seconds },
    warnings: protocolWarnings(left, right),
  };
}

/** Scores of the same name, or of the same metric and counterpart where names differ (another n, another extractor). */
function matched(left: readonly Score[], right: readonly Score[]): [Score, Score][] {
  const free = new Set(right);
  const take = (fits: (candidate: Score) => boolean): Score | undefined => {
    const found = [...free].find(fits);
    if (found !== undefined) free.delete(found);
    return found;
  };
  const same = (a: Score, b: Score) => a.metric === b.metric && a.against === b.against;
  const exact = new Map(
    left.map((score) => [score, take((other) => same(score, other) && score.name === other.name)] as const),
  );
  return left.flatMap((score): [Score, Score][] => {
    const other = exact.get(score) ?? take((candidate) => same(score, candidate));
    return other === undefined ? [] : [[score, other]];
  });
}

function differenceOf(left: Score, right: Score, sides: readonly [ComparedSide, ComparedSide]): ScoreDifference {
  const { metric, against, unit, better } = left;
  const unlike = unlikeReasons(left, right, sides);
  if (unlike.length === 0 && (left.value === null || right.value === null)) unlike.push('one side has no value');
  const shared = { metric, against, unit, better, left, right, unlike };
  return { ...shared, ...(unlike.length > 0 ? NO_DELTA : deltaOf(left, right, sides)) };
}

function deltaOf(left: Score, right: Score, [a, b]: readonly [ComparedSide, ComparedSide]): Delta {
  const pairs = left.against === 'float' ? pairsOf(left.metric, a.pictures, b.pictures) : null;
  if (pairs !== null) {
    const { mean, low, high, level } = pairedInterval(pairs[0], pairs[1], LEVEL);
    return { delta: mean, low, high, level, interval: 'paired-student-t' };
  }
  const delta = (right.value ?? 0) - (left.value ?? 0);
  const [h1, h2] = [halfWidth(left), halfWidth(right)];
  if (h1 === null || h2 === null || left.level !== right.level) return { ...NO_DELTA, delta };
  const half = Math.hypot(h1, h2);
  return { delta, low: delta - half, high: delta + half, level: left.level, interval: 'independent' };
}

/** Values of the same pictures on both sides; null when they are not the same or not known. */
function pairsOf(
  metric: string,
  left: PictureScores | null,
  right: PictureScores | null,
): readonly [readonly number[], readonly number[]] | null {
  const [a, b] = [left?.values[metric], right?.values[metric]];
  if (left === null || right === null || a === undefined || b === undefined) return null;
  const settings = ({ prompts, seed, steps, guidance, float }: PictureScores) =>
    JSON.stringify([prompts, seed, steps, guidance, float]);
  return a.length === b.length && a.length > 1 && settings(left) === settings(right) ? [a, b] : null;
}

function halfWidth({ low, high }: Score): number | null {
  return low === null || high === null ? null : (high - low) / 2;
}
