/** `12.3 GB` (10⁹ bytes). */
export function gigabytes(bytes: number): string {
  return `${(Math.max(0, bytes) / 1e9).toFixed(1)} GB`;
}
