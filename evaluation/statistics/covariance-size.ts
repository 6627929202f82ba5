/** Numbers of a covariance or of its factor at most: 8192², half a gigabyte of float64, of which a distance holds several. */
const MOST_ELEMENTS = 8192 ** 2;

/**
 * Why a covariance of these features is not computed: it, or its factor [min(n, d), d], would not fit in memory. null when it is.
 * @param n rows; Infinity when the covariance itself is needed
 */
export function covarianceObstacle(n: number, d: number): string | null {
  const rows = Math.min(n, d);
  if (rows * d <= MOST_ELEMENTS) return null;
  const gigabytes = ((rows * d * Float64Array.BYTES_PER_ELEMENT) / 2 ** 30).toFixed(1);
  return `${d} numbers per picture are too many for a covariance: ${rows} × ${d} of them would take ${gigabytes} GB`;
}
