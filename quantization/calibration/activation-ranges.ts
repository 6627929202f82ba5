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

const SHRINK_CANDIDATES = 80;
const SHRINK_STEP = 0.01;

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
  const grid = codeRange({ bits: scheme.bits, signed: scheme.symmetric });
  const errorOf = (interval: Interval): number => squaredError(points, toRange(interval, scheme.bits), grid);
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

function shrunk(intervalFor: (factor: number) => Interval): Interval[] {
  return Array.from({ length: SHRINK_CANDIDATES }, (_, index) => intervalFor(1 - SHRINK_STEP * index));
}

/** The first interval with the smallest error. */
function bestOf(candidates: readonly Interval[], errorOf: (interval: Interval) => number): Interval {
  let best = candidates[0] ?? { low: 0, high: 0 };
  let smallest = Number.POSITIVE_INFINITY;
  for (const candidate of candidates) {
    const error = errorOf(candidate);
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

/** Middle and count of every bin that is not empty; middles never lie outside what was observed. */
function pointsOf(stats: RangeStats): Points {
  const width = 2 ** (stats.exponent + 1) / HISTOGRAM_BINS;
  const filled = Array.from(stats.bins.keys()).filter((bin) => (stats.bins[bin] ?? 0) > 0);
  const middle = (bin: number): number => (bin - HISTOGRAM_BINS / 2 + 0.5) * width;
  return {
    values: Float64Array.from(filled, (bin) => Math.min(stats.max, Math.max(stats.min, middle(bin)))),
    counts: Float64Array.from(filled, (bin) => stats.bins[bin] ?? 0),
  };
}

function squaredError(
  points: Points,
  { scale, zeroPoint }: ActivationRange,
  grid: { min: number; max: number },
): number {
  const { values, counts } = points;
  let sum = 0;
  for (let index = 0; index < values.length; index += 1) {
    const value = values[index] as number;
    const code = Math.min(grid.max, Math.max(grid.min, roundHalfToEven(value / scale) + zeroPoint));
    const error = value - (code - zeroPoint) * scale;
    sum += (counts[index] as number) * error * error;
  }
  return sum;
}
