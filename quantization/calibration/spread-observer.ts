import type { SpreadAxes } from '../layer-plan.js';
import { exponentFor, POSITIVE_ZERO, type RangeStats } from './range-observer.js';

/**
 * What `RangeObserver` is for a value, for each of its channels, pixels or tokens ("entries"): minimum, maximum and, where
 * clips are searched, a histogram of SPREAD_BINS bins over [−2^e, 2^e) with an e of its own. As exact and mergeable: counts
 * depend on the values alone. Eight bytes an entry, half a kilobyte with a histogram.
 */

/** A power of two: at least 32 bins over a one-sided range. */
export const SPREAD_BINS = 128;

/** A value as [outer, entries, inner], row-major. */
export interface Arrangement {
  readonly outer: number;
  readonly entries: number;
  readonly inner: number;
}

/** How the entries of a value of `dims` lie that `axes` (neighbours) count. */
export function arrangementOf(dims: readonly number[], axes: SpreadAxes['axes']): Arrangement {
  const product = (from: number, to: number): number => dims.slice(from, to).reduce((all, dim) => all * dim, 1);
  const [first = 0, last = 0] = [axes[0], axes.at(-1)];
  return { outer: product(0, first), entries: product(first, last + 1), inner: product(last + 1, dims.length) };
}

/** Everything that a `SpreadObserver` has seen. */
export interface SpreadStats {
  readonly entries: number;
  /** Values of each entry. */
  readonly count: number;
  /** [entries]; +∞ and −∞ as long as nothing was observed. */
  readonly min: Float32Array;
  readonly max: Float32Array;
  readonly histogram: SpreadHistogram | null;
}

export interface SpreadHistogram {
  /** [entries]: bins cover [−2^exponent, 2^exponent). */
  readonly exponents: Int8Array;
  /** [entries, SPREAD_BINS] */
  readonly bins: Uint32Array;
}

const NO_EXPONENT = exponentFor(0);

export class SpreadObserver implements SpreadStats {
  count = 0;
  readonly min: Float32Array;
  readonly max: Float32Array;
  readonly histogram: SpreadHistogram | null;

  constructor(
    readonly entries: number,
    withHistogram: boolean,
  ) {
    this.min = new Float32Array(entries).fill(Number.POSITIVE_INFINITY);
    this.max = new Float32Array(entries).fill(Number.NEGATIVE_INFINITY);
    this.histogram = withHistogram
      ? { exponents: new Int8Array(entries).fill(NO_EXPONENT), bins: new Uint32Array(entries * SPREAD_BINS) }
      : null;
  }

  /** Adds values. Throws RangeError, and stays unchanged, when one is not finite or the entries are others. */
  observe(values: Float32Array, arrangement: Arrangement): void {
    const { outer, entries, inner } = arrangement;
    if (entries !== this.entries) throw new RangeError(`${entries} entries observed where ${this.entries} were before`);
    for (const value of values) {
      if (!Number.isFinite(value))
        throw new RangeError(`cannot observe ${value}: the float model yields values that are not finite`);
    }
    for (let block = 0; block < outer * entries; block += 1) {
      const part = values.subarray(block * inner, (block + 1) * inner);
      this.observeEntry(block % entries, part);
    }
    this.count += outer * inner;
  }

  /** Adds everything that `other` has seen; the result equals having observed it here. */
  merge(other: SpreadStats): void {
    if (other.entries !== this.entries) throw new RangeError(`${other.entries} entries against ${this.entries}`);
    this.count += other.count;
    for (let entry = 0; entry < this.entries; entry += 1) {
      this.widen(entry, other.min[entry] as number, other.max[entry] as number);
      if (this.histogram === null) continue;
      if (other.histogram === null) throw new RangeError('a histogram cannot go on from stats without one');
      const exponent = other.histogram.exponents[entry] as number;
      this.widenTo(entry, exponent);
      const factor = 2 ** ((this.histogram.exponents[entry] as number) - exponent);
      for (let bin = 0; bin < SPREAD_BINS; bin += 1) {
        const seen = other.histogram.bins[entry * SPREAD_BINS + bin] as number;
        this.addTo(entry, Math.floor((bin - SPREAD_BINS / 2) / factor), seen);
      }
    }
  }

  private observeEntry(entry: number, part: Float32Array): void {
    let low = this.min[entry] as number;
    let high = this.max[entry] as number;
    for (const value of part) {
      if (value < low) low = value;
      if (value > high) high = value;
    }
    this.widen(entry, low, high);
    if (this.histogram === null || part.length === 0) return;
    this.widenTo(entry, exponentFor(Math.max(Math.abs(low), Math.abs(high))));
    const inverseWidth = SPREAD_BINS / 2 ** ((this.histogram.exponents[entry] as number) + 1);
    for (const value of part) this.addTo(entry, Math.floor(value * inverseWidth), 1);
  }

  private widen(entry: number, low: number, high: number): void {
    this.min[entry] = Math.min(this.min[entry] as number, low) + POSITIVE_ZERO;
    this.max[entry] = Math.max(this.max[entry] as number, high) + POSITIVE_ZERO;
  }

  /** Adds `seen` values to the bin that starts `fromZero` bins above 0. */
  private addTo(entry: number, fromZero: number, seen: number): void {
    if (this.histogram === null) return;
    const at = entry * SPREAD_BINS + SPREAD_BINS / 2 + fromZero;
    this.histogram.bins[at] = (this.histogram.bins[at] as number) + seen;
  }

  private widenTo(entry: number, exponent: number): void {
    if (this.histogram === null) return;
    const { exponents, bins } = this.histogram;
    const held = exponents[entry] as number;
    if (exponent <= held) return;
    exponents[entry] = exponent;
    const own = bins.subarray(entry * SPREAD_BINS, (entry + 1) * SPREAD_BINS);
    const before = own.slice();
    own.fill(0);
    const factor = 2 ** (exponent - held);
    before.forEach((seen, bin) => {
      this.addTo(entry, Math.floor((bin - SPREAD_BINS / 2) / factor), seen);
    });
  }
}

/** What was seen of several entries together. Without histograms `bins` is empty. */
export function unitedStats(stats: SpreadStats, entries: readonly number[]): RangeStats {
  const { histogram, count } = stats;
  const exponent = entries.reduce(
    (most, entry) => Math.max(most, histogram?.exponents[entry] ?? NO_EXPONENT),
    NO_EXPONENT,
  );
  const bins = new Float64Array(histogram === null ? 0 : SPREAD_BINS);
  let [min, max] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const entry of entries) {
    min = Math.min(min, stats.min[entry] as number);
    max = Math.max(max, stats.max[entry] as number);
    if (histogram === null) continue;
    const factor = 2 ** (exponent - (histogram.exponents[entry] as number));
    for (let bin = 0; bin < SPREAD_BINS; bin += 1) {
      const at = Math.floor((bin - SPREAD_BINS / 2) / factor) + SPREAD_BINS / 2;
      bins[at] = (bins[at] as number) + (histogram.bins[entry * SPREAD_BINS + bin] as number);
    }
  }
  return { min, max, count: count * entries.length, exponent, bins };
}

/** Everything that several observers of the same entries have seen. Throws RangeError for none. */
export function mergedSpread(parts: readonly SpreadStats[]): SpreadStats {
  const [first] = parts;
  if (first === undefined) throw new RangeError('nothing was observed');
  const all = new SpreadObserver(first.entries, first.histogram !== null);
  for (const part of parts) all.merge(part);
  return all;
}
