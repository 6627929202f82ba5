/** Pictures shown at either end. */
export const SHOWN_EXTREMES = 6;

export interface Extremes {
  /** Indices of the pictures, worst first. */
  readonly worst: readonly number[];
  /** Indices of the pictures, best first; none of them is among the worst. */
  readonly best: readonly number[];
}

/** The k worst and the k best of the values; ties in the order of the pictures. Fewer than 2k values: half of them each. */
export function selectExtremes(
  values: ArrayLike<number>,
  better: 'higher' | 'lower',
  shown = SHOWN_EXTREMES,
): Extremes {
  const sign = better === 'higher' ? 1 : -1;
  const order = Array.from({ length: values.length }, (_, i) => i)
    .filter((i) => !Number.isNaN(values[i]))
    .sort((a, b) => sign * ((values[a] as number) - (values[b] as number)) || a - b);
  const worst = order.slice(0, Math.min(shown, Math.ceil(order.length / 2)));
  const rest = order.slice(worst.length);
  return { worst, best: rest.slice(-shown).reverse() };
}
