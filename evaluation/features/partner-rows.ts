import { canonicalOrder } from './feature-set.js';

/**
 * Of each row of a set in canonical order, the row of its same-seed partner in the other set's canonical order.
 * @param keys,others sha256 of the pixels of picture 0, 1, … of the two sets: picture i of the one was made like picture i of
 * the other
 */
export function partnerRows(keys: readonly string[], others: readonly string[]): Uint32Array {
  if (keys.length !== others.length) throw new RangeError(`no pairs: ${keys.length} and ${others.length} pictures`);
  const rowOf = new Uint32Array(others.length);
  for (const [row, picture] of canonicalOrder(others).entries()) rowOf[picture] = row;
  return canonicalOrder(keys).map((picture) => rowOf[picture] as number);
}
