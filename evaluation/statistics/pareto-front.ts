/**
 * The Pareto front: item a dominates item b when it is no worse in every criterion and better in one. The front is what
 * nothing dominates. All criteria are costs: smaller is better; negate what should be large.
 *
 * @param costs one row of equal length for each item
 * @returns indices of the items that no other item dominates, ascending. Items with a cost that is not finite are never on it.
 *   Equal items are on it together. O(n² d).
 */
export function paretoFront(costs: readonly (readonly number[])[]): number[] {
  const whole = costs.flatMap((row, index) => (row.every(Number.isFinite) ? [index] : []));
  return whole.filter((index) => !whole.some((other) => dominates(costs[other] ?? [], costs[index] ?? [])));
}

function dominates(a: readonly number[], b: readonly number[]): boolean {
  const differences = b.map((cost, i) => cost - (a[i] ?? 0));
  return differences.every((difference) => difference >= 0) && differences.some((difference) => difference > 0);
}
