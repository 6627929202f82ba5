/**
 * The `share` quantile (0…1) with linear interpolation between order statistics (numpy's default, Hyndman & Fan type 7).
 * The values are not changed.
 */
export function quantile(values: ArrayLike<number>, share: number): number {
  if (values.length === 0) throw new RangeError('a quantile of no values');
  if (!(share >= 0 && share <= 1)) throw new RangeError(`no share: ${share}`);
  const sorted = Float64Array.from(values).sort();
  const position = share * (sorted.length - 1);
  const below = Math.floor(position);
  const low = sorted[below] as number;
  const high = sorted[Math.min(below + 1, sorted.length - 1)] as number;
  return low + (high - low) * (position - below);
}
