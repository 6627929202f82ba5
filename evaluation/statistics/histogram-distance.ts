/**
 * Earth mover's distance of two histograms over the same equal bins: ∫|F − G|, the bin width times the sum of the absolute
 * differences of the cumulative shares. A histogram moved by one bin is one bin width away. Each is divided by its own total.
 * Throws RangeError for other numbers of bins, and for an empty histogram.
 */
export function histogramDistance(a: ArrayLike<number>, b: ArrayLike<number>, binWidth: number): number {
  if (a.length !== b.length) throw new RangeError(`histograms of ${a.length} and ${b.length} bins`);
  const [totalA, totalB] = [totalOf(a), totalOf(b)];
  if (!(totalA > 0 && totalB > 0)) throw new RangeError('an empty histogram is at no distance');
  let ahead = 0;
  let distance = 0;
  for (let i = 0; i < a.length; i += 1) {
    // counts stay whole numbers: equal histograms give exactly 0
    ahead += (a[i] as number) * totalB - (b[i] as number) * totalA;
    distance += Math.abs(ahead);
  }
  return (distance / totalA / totalB) * binWidth;
}

function totalOf(counts: ArrayLike<number>): number {
  let total = 0;
  for (let i = 0; i < counts.length; i += 1) total += counts[i] as number;
  return total;
}

/** Index of the bin of a value among `bins` equal ones from `low`; values outside belong to the first or the last. */
export function binOf(value: number, low: number, binWidth: number, bins: number): number {
  const index = Math.floor((value - low) / binWidth);
  return index < 0 ? 0 : index >= bins ? bins - 1 : index;
}
