/**
 * A streaming, mergeable summary of the values of one tensor: minimum, maximum, count and a histogram.
 *
 * The histogram has HISTOGRAM_BINS bins of equal width over [−2^e, 2^e), where e is the smallest exponent that holds every
 * value seen. When e grows by one, pairs of neighbouring bins become one bin. Bin edges are powers of two times integers, so
 * this is exact: the counts depend on the values alone, not on their order or on how they were split into parts.
 */

/** A power of two. 2,048 bins are at least 512 over a one-sided range: 32 bins a code at 4 bit. */
export const HISTOGRAM_BINS = 2048;

/** Values below 2^−40 share the two bins around zero. */
const SMALLEST_EXPONENT = -40;

/** Added to a bound it turns −0 into 0, which keeps the order of zeros out of the result. */
export const POSITIVE_ZERO = 0;

export interface RangeStats {
  /** +∞ and −∞ as long as nothing was observed. */
  readonly min: number;
  readonly max: number;
  readonly count: number;
  /** The histogram covers [−2^exponent, 2^exponent). */
  readonly exponent: number;
  /** Counts, exact up to 2^53. */
  readonly bins: Float64Array;
}

export class RangeObserver implements RangeStats {
  min = Number.POSITIVE_INFINITY;
  max = Number.NEGATIVE_INFINITY;
  count = 0;
  exponent = SMALLEST_EXPONENT;
  bins: Float64Array = new Float64Array(HISTOGRAM_BINS);

  /** An observer that goes on from `stats`; copies them. */
  static from(stats: RangeStats): RangeObserver {
    if (stats.bins.length !== HISTOGRAM_BINS) {
      throw new RangeError(`a histogram has ${HISTOGRAM_BINS} bins, got ${stats.bins.length}`);
    }
    const observer = new RangeObserver();
    observer.merge(stats);
    return observer;
  }

  /** Adds values. Throws RangeError, and stays unchanged, when one is not finite. */
  observe(values: Float32Array): void {
    let min = this.min;
    let max = this.max;
    for (const value of values) {
      if (!Number.isFinite(value))
        throw new RangeError(`cannot observe ${value}: the float model yields values that are not finite`);
      if (value < min) min = value;
      if (value > max) max = value;
    }
    if (values.length === 0) return;
    this.min = min + POSITIVE_ZERO;
    this.max = max + POSITIVE_ZERO;
    this.count += values.length;
    this.widenTo(exponentFor(Math.max(Math.abs(min), Math.abs(max))));
    const inverseWidth = HISTOGRAM_BINS / 2 ** (this.exponent + 1);
    for (const value of values) {
      const bin = Math.floor(value * inverseWidth) + HISTOGRAM_BINS / 2;
      this.bins[bin] = (this.bins[bin] ?? 0) + 1;
    }
  }

  /** Adds everything that `other` has seen; the result equals having observed it here. */
  merge(other: RangeStats): void {
    this.min = Math.min(this.min, other.min);
    this.max = Math.max(this.max, other.max);
    this.count += other.count;
    this.widenTo(other.exponent);
    const bins = coarsened(other.bins, this.exponent - other.exponent);
    for (let bin = 0; bin < HISTOGRAM_BINS; bin += 1) this.bins[bin] = (this.bins[bin] ?? 0) + (bins[bin] ?? 0);
  }

  private widenTo(exponent: number): void {
    if (exponent <= this.exponent) return;
    this.bins = coarsened(this.bins, exponent - this.exponent);
    this.exponent = exponent;
  }
}

/** Everything that several observers have seen. */
export function mergedStats(parts: Iterable<RangeStats>): RangeStats {
  const all = new RangeObserver();
  for (const part of parts) all.merge(part);
  return all;
}

/** Smallest exponent e ≥ SMALLEST_EXPONENT with size < 2^e. */
export function exponentFor(size: number): number {
  if (size < 2 ** SMALLEST_EXPONENT) return SMALLEST_EXPONENT;
  let exponent = Math.floor(Math.log2(size)) + 1;
  while (size >= 2 ** exponent) exponent += 1;
  while (exponent > SMALLEST_EXPONENT && size < 2 ** (exponent - 1)) exponent -= 1;
  return exponent;
}

/** The histogram over a range 2^doublings times as wide; the same array for 0. */
function coarsened(bins: Float64Array, doublings: number): Float64Array {
  if (doublings === 0) return bins;
  const result = new Float64Array(HISTOGRAM_BINS);
  const half = HISTOGRAM_BINS / 2;
  const factor = 2 ** doublings;
  for (const [bin, count] of bins.entries()) {
    if (count === 0) continue;
    const target = Math.floor((bin - half) / factor) + half;
    result[target] = (result[target] ?? 0) + count;
  }
  return result;
}
