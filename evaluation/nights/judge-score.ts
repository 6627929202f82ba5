import type { NightVerdict } from '../../contracts/night-record.js';
import type { BaselineSettings } from '../../contracts/nights.js';

/**
 * Whether a score got worse: the rule of nightly evaluations.
 *
 *   b_t = median of the last `window` nights before the last `lag` ones (t among them), alarms left out
 *   w_t = how much worse than b_t: b_t − v_t where more is better, v_t − b_t where less is
 *   worse ⇔ w_t > ratio · |b_t| and w_t > absolute;   alarm ⇔ at least 2 of the last 3 nights are worse than b_t
 *
 * The lag keeps the nights that are judged out of their own baseline; nights with an alarm never enter one, so that a
 * regression that nobody mends does not become the new normal. One outlier alone is no alarm: a run that was disturbed.
 */

/** A score of a night: nights in order, all comparable with each other. */
export interface NightPoint {
  /** ISO time. */
  readonly at: string;
  readonly value: number;
  /** What was said of it then; the verdict of the last point is not read. */
  readonly verdict: NightVerdict;
}

export interface ScoreJudgement {
  readonly verdict: NightVerdict;
  /** null while learning. */
  readonly baseline: number | null;
  readonly baselineNights: number;
  /** The least difference that counts; null while learning. */
  readonly threshold: number | null;
}

/** Nights an alarm looks at, and how many of them must be worse. */
const LOOKED_AT = 3;
const NEEDED = 2;

/**
 * Judges the last point.
 * @param absolute in the score's unit
 */
export function judgeScore(
  points: readonly NightPoint[],
  better: 'higher' | 'lower',
  settings: Omit<BaselineSettings, 'absolute'>,
  absolute: number,
): ScoreJudgement {
  const { lag, window, minimum, ratio, since } = settings;
  const usable = points
    .slice(0, Math.max(0, points.length - lag))
    .filter(({ at, verdict }) => verdict !== 'regression' && (since === null || at.slice(0, 10) >= since));
  const inBaseline = usable.slice(-window).map(({ value }) => value);
  if (inBaseline.length < minimum) {
    return { verdict: 'learning', baseline: null, baselineNights: inBaseline.length, threshold: null };
  }
  const baseline = median(inBaseline);
  const threshold = Math.max(absolute, ratio * Math.abs(baseline));
  const worseBy = points
    .slice(-LOOKED_AT)
    .filter(({ at }) => since === null || at.slice(0, 10) >= since)
    .map(({ value }) => (better === 'higher' ? baseline - value : value - baseline));
  const isWorse = (difference: number): boolean => difference > threshold;
  const worse = worseBy.filter(isWorse).length;
  const improved = worseBy.filter((difference) => isWorse(-difference)).length;
  const tonight = worseBy.at(-1) ?? 0;
  const verdict =
    worse >= NEEDED
      ? 'regression'
      : isWorse(tonight)
        ? 'suspect'
        : improved >= NEEDED && isWorse(-tonight)
          ? 'improved'
          : 'steady';
  return { verdict, baseline, baselineNights: inBaseline.length, threshold };
}

/** The middle value, or the mean of the two in the middle. */
function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  const upper = sorted[Math.floor(middle)] ?? 0;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? 0) + upper) / 2;
}
