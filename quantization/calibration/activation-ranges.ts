import { affineParameters, codeRange, roundHalfToEven, symmetricScale } from '../formats/integer-grid.js';
import type { ActivationScheme } from '../layer-plan.js';
import type { ActivationObservers } from './activation-observers.js';
import { HISTOGRAM_BINS, mergedStats, type RangeStats } from './range-observer.js';

/**
 * Scales and zero points of activations from what was observed.
 *
 *   minmax: the grid over [min, max] (symmetric: over ±max|x|)
 *   mse:    the grid over [low, high] with the smallest Σ n_bin · (x_bin − x̂_bin)² over the histogram, where both ends are
 *           first shrunk together by 1, 0.99 … 0.21 (the candidates of Q-Diffusion and QuEST), then each end alone:
 *           activations behind SiLU or GELU are lopsided, and clipping their short end wins nothing.
 */

export interface ActivationRange {
  /** Positive, float32. */
  readonly scale: number;
  /** 0 for symmetric schemes, else a code 0 … 2^b − 1. */
  readonly zeroPoint: number;
}

/** One entry per timestep; static ranges have a single entry and no timesteps. */
export interface ActivationTable {
  /** Increasing; empty for a static range. */
  readonly timesteps: readonly number[];
  readonly ranges: readonly ActivationRange[];
}

/** Steps of 1 % down to 0.21; of 4 % for the coarse histograms of single channels, of which there are thousands. */
const SHRINK = { fine: { candidates: 80, step: 0.01 }, coarse: { candidates: 20, step: 0.04 } } as const;

/**
 * The range table of a value: an entry per observed timestep, or one over all of them when the scheme is static. Throws
 * RangeError when nothing was observed, or for a dynamic scheme (which has no table).
 */
export function activationTable(
  observers: ActivationObservers,
  value: string,
  scheme: ActivationScheme,
): ActivationTable {
  if (scheme.ranges === 'dynamic') throw new RangeError(`the range of ${value} is found at run time`);
  const timesteps = observers.timestepsOf(value);
  const stats = timesteps.map((timestep) => observers.statsOf(value, timestep));
  if (scheme.ranges === 'static') return { timesteps: [], ranges: [activationRange(mergedStats(stats), scheme)] };
  if (timesteps.length === 0) throw new RangeError(`${value} was not observed`);
  return { timesteps, ranges: stats.map((one) => activationRange(one, scheme)) };
}

/** Scale and zero point for what was observed. Throws RangeError when that is nothing. */
export function activationRange(
  stats: RangeStats,
  scheme: Pick<ActivationScheme, 'bits' | 'symmetric' | 'range'>,
): ActivationRange {
  if (stats.count === 0) throw new RangeError('no range: nothing was observed');
  const full: Interval = { low: Math.min(0, stats.min), high: Math.max(0, stats.max) };
  const toRange = scheme.symmetric ? symmetricRange : affineRange;
  if (scheme.range === 'minmax') return toRange(full, scheme.bits);
  const points = pointsOf(stats);
  const isFine = stats.bins.length === HISTOGRAM_BINS;
  const shrunk = shrinker(isFine ? SHRINK.fine : SHRINK.coarse);
  const grid = codeRange({ bits: scheme.bits, signed: scheme.symmetric });
  const errorOf = (interval: Interval, bound: number): number =>
    squaredError(points, toRange(interval, scheme.bits), grid, bound);
  let best = bestOf(
    shrunk((factor) => ({ low: full.low * factor, high: full.high * factor })),
    errorOf,
  );
  if (!scheme.symmetric) {
    const { low } = best;
    best = bestOf([best, ...shrunk((factor) => ({ low, high: full.high * factor }))], errorOf);
    const { high } = best;
    best = bestOf([best, ...shrunk((factor) => ({ low: full.low * factor, high }))], errorOf);
  }
  return toRange(best, scheme.bits);
}

interface Interval {
  readonly low: number;
  readonly high: number;
}

function affineRange({ low, high }: Interval, bits: number): ActivationRange {
  return affineParameters(low, high, bits);
}

function symmetricRange({ low, high }: Interval, bits: number): ActivationRange {
  return { scale: symmetricScale(Math.max(-low, high), bits), zeroPoint: 0 };
}

function shrinker({ candidates, step }: { readonly candidates: number; readonly step: number }) {
  return (intervalFor: (factor: number) => Interval): Interval[] =>
    Array.from({ length: candidates }, (_, index) => intervalFor(1 - step * index));
}

/** The first interval with the smallest error. */
function bestOf(candidates: readonly Interval[], errorOf: (interval: Interval, bound: number) => number): Interval {
  let best = candidates[0] ?? { low: 0, high: 0 };
  let smallest = Number.POSITIVE_INFINITY;
  for (const candidate of candidates) {
    const error = errorOf(candidate, smallest);
    if (error < smallest) {
      best = candidate;
      smallest = error;
    }
  }
  return best;
}

interface Points {
  readonly values: Float64Array;
  readonly counts: Float64Array;
}

/**
 * Where the counted values are taken to be: the middle of every bin that is not empty; in coarse histograms the middles of
 * its halves, since a bin may be as wide as a code. Never outside of what was observed.
 */
function pointsOf({ bins, exponent, min, max }: RangeStats): Points {
  const parts = bins.length === HISTOGRAM_BINS ? 1 : 2;
  const width = 2 ** (exponent + 1) / bins.length;
  const filled = Array.from(bins.keys()).filter((bin) => (bins[bin] ?? 0) > 0);
  const places = filled.flatMap((bin) =>
    Array.from({ length: parts }, (_, part) => (bin - bins.length / 2 + (part + 0.5) / parts) * width),
  );
  return {
    values: Float64Array.from(places, (place) => Math.min(max, Math.max(min, place))),
    counts: Float64Array.from(places, (_, at) => (bins[filled[Math.floor(at / parts)] ?? 0] ?? 0) / parts),
  };
}

/** Stops at `bound`: what it returns is then at least that. */
function squaredError(
  points: Points,
  { scale, zeroPoint }: ActivationRange,
  grid: { min: number; max: number },
  bound: number,
): number {
  const { values, counts } = points;
  let sum = 0;
  for (let index = 0; index < values.length && sum < bound; index += 1) {
    const value = values[index] as number;
    const code = Math.min(grid.max, Math.max(grid.min, roundHalfToEven(value / scale) + zeroPoint));
    const error = value - (code - zeroPoint) * scale;
    sum += (counts[index] as number) * error * error;
  }
  return sum;
}
