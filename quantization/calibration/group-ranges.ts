import type { ActivationScheme } from '../layer-plan.js';
import { type ActivationRange, activationRange } from './activation-ranges.js';
import { kMeans } from './k-means.js';
import type { SpreadStats } from './spread-observer.js';

/**
 * Ranges shared by channels (or pixels) that behave alike (DGQ, Ryu et al., ICLR 2025, §4.1): k-means on the points
 * (min_i, max_i) of a value's channels; a cluster's range reaches from its smallest minimum to its largest maximum. Outliers,
 * which live in few channels or few pixels, then widen no range but their own.
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
  scheme: Pick<ActivationScheme, 'bits' | 'symmetric'>,
  groups: number,
): GroupedRow {
  if (stats.count === 0) throw new RangeError('no ranges: nothing was observed');
  const { assignment, count } = kMeans(stats.min, stats.max, groups, SEED);
  const bounds = Array.from({ length: count }, () => ({
    min: Number.POSITIVE_INFINITY,
    max: Number.NEGATIVE_INFINITY,
  }));
  for (const [entry, group] of assignment.entries()) {
    const own = bounds[group];
    if (own === undefined) continue;
    own.min = Math.min(own.min, stats.min[entry] as number);
    own.max = Math.max(own.max, stats.max[entry] as number);
  }
  const ranges = bounds.map(({ min, max }) => {
    const seen = { min, max, count: 1, exponent: 0, bins: new Float64Array(0) };
    return activationRange(seen, { bits: scheme.bits, symmetric: scheme.symmetric, range: 'minmax' });
  });
  return { ranges, members: assignment };
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
