import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { canonicalOrder, reorderedRows, rowsInMemory } from '../../../evaluation/features/feature-set.js';
import { type PictureSource, selectedPictures } from '../../../evaluation/features/picture-source.js';
import { float32, tensor } from '../../../models/tensors/tensor.js';

const D = 3;
const rowsOf = (n: number) =>
  rowsInMemory(
    float32(
      [n, D],
      Float32Array.from({ length: n * D }, (_, i) => i),
    ),
  );

describe('canonicalOrder', () => {
  test('sorts by key, and puts equal keys in the order they have', () => {
    expect([...canonicalOrder(['c', 'a', 'b', 'a'])]).toEqual([1, 3, 2, 0]);
  });

  test('gives every order of the same keys the same sequence', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ minLength: 1, maxLength: 3 }), { minLength: 1, maxLength: 30 }), (keys) => {
        const sorted = (of: string[]) => Array.from(canonicalOrder(of), (i) => of[i]).join();
        expect(sorted(keys.toReversed())).toBe(sorted(keys));
      }),
    );
  });
});

describe('reorderedRows', () => {
  test('row i is row order[i], for any order and any tile, and neighbours are read at once', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.nat(19), { minLength: 1, maxLength: 40 }),
        fc.nat(39),
        fc.nat(39),
        async (order, a, b) => {
          let reads = 0;
          const rows = rowsOf(20);
          const counted = {
            ...rows,
            read: (first: number, end: number) => {
              reads += 1;
              return rows.read(first, end);
            },
          };
          const [first, end] = [Math.min(a, b, order.length), Math.min(Math.max(a, b), order.length)];
          const tile = await reorderedRows(counted, Uint32Array.from(order)).read(first, end);
          const expected = order.slice(first, end).flatMap((row) => [row * D, row * D + 1, row * D + 2]);
          expect([...tile]).toEqual(expected);
          const breaks = order
            .slice(first, end)
            .filter((row, i, part) => i > 0 && row !== (part[i - 1] as number) + 1).length;
          expect(reads).toBe(end > first ? breaks + 1 : 0);
        },
      ),
    );
  });
});

describe('selectedPictures', () => {
  test('names, keys and pixels are those of the chosen pictures; others are an error', async () => {
    const picture = (level: number) => tensor('uint8', [1, 1, 1, 3], Uint8Array.of(level, level, level));
    const source: PictureSource = {
      n: 3,
      keys: ['x', 'y', 'z'],
      height: 1,
      width: 1,
      notes: [],
      nameOf: (index) => `${index}.png`,
      read: async (indices) => indices.map(picture),
    };
    const chosen = selectedPictures(source, [2, 0, 2]);
    expect([chosen.n, chosen.keys, chosen.nameOf(1)]).toEqual([3, ['z', 'x', 'z'], '0.png']);
    expect((await chosen.read([0, 1])).map((image) => image.data[0])).toEqual([2, 0]);
    expect(() => selectedPictures(source, [3])).toThrow(RangeError);
  });
});
