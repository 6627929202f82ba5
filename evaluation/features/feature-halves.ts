import type { FeatureRows, FeatureSet } from './feature-set.js';

/** Rows first … end − 1 of a set, which is not copied. */
export function featureRange(set: FeatureSet, first: number, end: number): FeatureSet {
  const part = (rows: FeatureRows): FeatureRows => ({
    n: end - first,
    d: rows.d,
    read: (from, to) => rows.read(first + from, first + to),
  });
  return {
    extractor: set.extractor,
    keys: set.keys.slice(first, end),
    pool: part(set.pool),
    ...(set.logits === undefined ? {} : { logits: part(set.logits) }),
    ...(set.spatial === undefined ? {} : { spatial: part(set.spatial) }),
  };
}

/**
 * Two halves of a set, of equal size; with an odd number the last row is left out. Rows are in the order of digests of the
 * pictures, so that a half is a random one, and the same whatever the files are called.
 */
export function featureHalves(set: FeatureSet): readonly [FeatureSet, FeatureSet] {
  const half = Math.floor(set.keys.length / 2);
  return [featureRange(set, 0, half), featureRange(set, half, 2 * half)];
}
