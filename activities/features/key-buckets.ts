/** Pictures whose features are stored and cached together at most. */
export const MOST_PER_CHUNK = 512;
/** Keys are even (sha256), so that buckets of about this many hardly ever grow beyond MOST_PER_CHUNK. */
const WANTED_PER_CHUNK = 384;

/**
 * Distinct keys (hex) in ascending order, cut into groups by their leading bits: which pictures share a group depends on the
 * keys alone, and a set with one more picture differs in one group.
 */
export function keyBuckets(keys: readonly string[]): string[][] {
  const bits = Math.max(0, Math.ceil(Math.log2(keys.length / WANTED_PER_CHUNK)));
  const buckets = new Map<number, string[]>();
  for (const key of keys.toSorted()) {
    const bucket = Math.floor(Number.parseInt(key.slice(0, 8), 16) / 2 ** (32 - bits));
    const others = buckets.get(bucket);
    if (others === undefined) buckets.set(bucket, [key]);
    else others.push(key);
  }
  return [...buckets.values()].flatMap((bucket) =>
    Array.from({ length: Math.ceil(bucket.length / MOST_PER_CHUNK) }, (_, part) =>
      bucket.slice(part * MOST_PER_CHUNK, (part + 1) * MOST_PER_CHUNK),
    ),
  );
}
