import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { keyBuckets, MOST_PER_CHUNK } from '../../../activities/features/key-buckets.js';

const keysOf = (n: number, seed: number): string[] =>
  Array.from({ length: n }, (_, i) => createHash('sha256').update(`${seed}-${i}`).digest('hex'));

describe('keyBuckets', () => {
  test('cuts any set into groups that are small, ascending and complete, whatever the order', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 4000 }), fc.nat(50), (n, seed) => {
        const keys = keysOf(n, seed);
        const buckets = keyBuckets(keys);
        expect(buckets.flat().join()).toBe(keys.toSorted().join());
        expect(Math.max(...buckets.map(({ length }) => length))).toBeLessThanOrEqual(MOST_PER_CHUNK);
        expect(JSON.stringify(keyBuckets(keys.toReversed()))).toBe(JSON.stringify(buckets));
      }),
      { numRuns: 30 },
    );
  });

  test('one more key leaves every group but one as it was', () => {
    for (const n of [1, 511, 512, 513, 1024, 1500, 2048, 3000]) {
      const keys = keysOf(n + 1, 9);
      const before = new Set(keyBuckets(keys.slice(0, n)).map((bucket) => bucket.join()));
      const after = keyBuckets(keys);
      const changed = after.filter((bucket) => !before.has(bucket.join()));
      expect(changed.flat().length).toBeLessThanOrEqual(MOST_PER_CHUNK + 1);
    }
  });

  test('groups of even keys are not small: 50,000 pictures make fewer than 300 chunks', () => {
    const buckets = keyBuckets(keysOf(50_000, 3));
    expect(buckets.length).toBeLessThan(300);
    expect(Math.min(...buckets.map(({ length }) => length))).toBeGreaterThan(100);
  });
});
