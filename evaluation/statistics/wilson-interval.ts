/** 97.5 % quantile of the normal distribution. */
const Z = 1.959963984540054;

/**
 * The 95 % interval of a share of which `hits` of `n` independent rows are counted (Wilson 1927): keeps its coverage near 0
 * and 1, where mean ± t·s/√n shrinks to nothing.
 */
export function wilsonInterval(hits: number, n: number): { readonly low: number; readonly high: number } {
  if (!(n >= 1 && hits >= 0 && hits <= n)) throw new RangeError(`no share: ${hits} of ${n}`);
  const share = hits / n;
  const scale = 1 + Z ** 2 / n;
  const middle = (share + Z ** 2 / (2 * n)) / scale;
  const half = (Z / scale) * Math.sqrt((share * (1 - share)) / n + (Z / (2 * n)) ** 2);
  return { low: hits === 0 ? 0 : middle - half, high: hits === n ? 1 : middle + half };
}
