/** Pictures whose features are stored and cached together at most. */
export const MOST_PER_CHUNK = 512;

/**
 * Distinct keys (hex of equal length) in ascending order, cut into groups of up to MOST_PER_CHUNK: a group that is too large
 * is halved by the next bit of its keys. Which keys share a group depends on the set alone, not on the order in which they come, and one
 * more key changes one group.
 */
export function keyBuckets(keys: readonly string[]): string[][] {
  return halved(keys.toSorted(), 0);
}

function halved(sorted: string[], bit: number): string[][] {
  if (sorted.length <= MOST_PER_CHUNK) return sorted.length === 0 ? [] : [sorted];
  const middle = sorted.findIndex((key) => hasBit(key, bit));
  const first = middle < 0 ? sorted.length : middle;
  return [...halved(sorted.slice(0, first), bit + 1), ...halved(sorted.slice(first), bit + 1)];
}

/** Bit 0 is the highest of the first digit. */
function hasBit(key: string, bit: number): boolean {
  const digit = Number.parseInt(key.charAt(bit >> 2), 16);
  if (Number.isNaN(digit)) throw new RangeError(`more than ${MOST_PER_CHUNK} pictures with the key ${key}`);
  return ((digit >> (3 - (bit & 3))) & 1) === 1;
}
