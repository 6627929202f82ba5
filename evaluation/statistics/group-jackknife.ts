import { studentTQuantile } from './student-t.js';

/**
 * Delete-a-group jackknife (Shao & Tu 1995, §2.3): rows are dealt into G groups, θ₍g₎ leaves group g out,
 *   error² = (G − 1)/G · Σ_g (θ₍g₎ − θ̄)²,   interval θ ± t·error with G − 1 degrees of freedom.
 * For statistics of many rows that cannot be recomputed for each of them. Two independent sets may leave out their groups g
 * together. A bias that shrinks with the number of rows stays in the value.
 */
export function groupJackknife(
  value: number,
  withoutGroup: ArrayLike<number>,
  level = 0.95,
): { readonly error: number; readonly low: number; readonly high: number } {
  const groups = withoutGroup.length;
  if (groups < 2) throw new RangeError(`a jackknife needs two groups, got ${groups}`);
  const values = Float64Array.from(withoutGroup);
  const mean = values.reduce((a, b) => a + b, 0) / groups;
  const squares = values.reduce((a, b) => a + (b - mean) ** 2, 0);
  const error = Math.sqrt((squares * (groups - 1)) / groups);
  const half = error * studentTQuantile(1 - (1 - level) / 2, groups - 1);
  return { error, low: value - half, high: value + half };
}
