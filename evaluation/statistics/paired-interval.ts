import { studentTQuantile } from './student-t.js';

/** A mean with its two-sided confidence interval. */
export interface MeanInterval {
  readonly mean: number;
  /** Ends of the interval; both equal the mean when n is 1 or every value is the same. */
  readonly low: number;
  readonly high: number;
  /** Sample standard deviation (n − 1). */
  readonly deviation: number;
  readonly n: number;
  /** Coverage, e.g. 0.95. */
  readonly level: number;
}

/**
 * Mean ± t·s/√n (Student t, n − 1 degrees of freedom). Chosen over a bootstrap because means of 32 or more PSNR values are
 * close to normal and the interval needs no seed; bootstrap.ts serves statistics that are not means.
 */
export function meanInterval(values: ArrayLike<number>, level = 0.95): MeanInterval {
  const n = values.length;
  if (n === 0) throw new RangeError('the mean of no values');
  let sum = 0;
  for (let i = 0; i < n; i += 1) sum += values[i] as number;
  const mean = sum / n;
  if (n === 1) return { mean, low: mean, high: mean, deviation: 0, n, level };
  let squares = 0;
  for (let i = 0; i < n; i += 1) squares += ((values[i] as number) - mean) ** 2;
  const deviation = Math.sqrt(squares / (n - 1));
  const half = (studentTQuantile(1 - (1 - level) / 2, n - 1) * deviation) / Math.sqrt(n);
  return { mean, low: mean - half, high: mean + half, deviation, n, level };
}

/**
 * Interval of the mean of `after[i] − before[i]`: both measured on the same pictures, so that the pictures' own spread
 * cancels. Throws RangeError when the lengths differ.
 */
export function pairedInterval(before: ArrayLike<number>, after: ArrayLike<number>, level = 0.95): MeanInterval {
  if (before.length !== after.length) throw new RangeError(`no pairs: ${before.length} and ${after.length} values`);
  return meanInterval(
    Float64Array.from({ length: after.length }, (_, i) => (after[i] as number) - (before[i] as number)),
    level,
  );
}
