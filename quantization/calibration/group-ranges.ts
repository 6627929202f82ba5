import type { ActivationScheme } from '../layer-plan.js';
import { type ActivationRange, activationRange } from './activation-ranges.js';
import { kMeans } from './k-means.js';
import { type SpreadStats, unitedStats } from './spread-observer.js';

/**
 * Ranges shared by channels (or pixels) that behave alike (DGQ, Ryu et al., ICLR 2025, §4.1): k-means on the points
 * (min_i, max_i) of a value's channels; a cluster's range reaches from its smallest minimum to its largest maximum. Outliers,
 * which live in few channels or few pixels, then widen no range but their own. With `mse` a cluster's range is clipped as that
 * of a whole value would be, which DGQ, for 6 bits and more, does not do.
 */
export interface GroupedRow {
  readonly ranges: readonly ActivationRange[];
  /** Index into `ranges` of each entry. */
  readonly members: Uint8Array;
}

/** DGQ fixes the seed of its clustering as well. */
const SEED = 0;

/** At most `groups` ranges for the entries of one row of a table. */
export function groupedRow(
  stats: SpreadStats,
  scheme: Pick<ActivationScheme, 'bits' | 'symmetric' | 'range'>,
  groups: number,
): GroupedRow {
  if (stats.count === 0) throw new RangeError('no ranges: nothing was observed');
  const { assignment, count } = kMeans(stats.min, stats.max, groups, SEED);
  const groupsOf = Array.from({ length: count }, (): number[] => []);
  for (const [entry, group] of assignment.entries()) groupsOf[group]?.push(entry);
  return {
    ranges: groupsOf.map((entries) => activationRange(unitedStats(stats, entries), scheme)),
    members: assignment,
  };
}

/** How much the ranges of entries differ: (max_i max − min_i max) + (max_i min − min_i min). */
export function rangeSpread({ min, max }: SpreadStats): number {
  return extent(max) + extent(min);
}

function extent(values: Float32Array): number {
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return high - low;
}
