import { describe, expect, test } from 'vitest';
import { composeGrid } from '../../../evaluation/report/sample-grid.js';
import { tensor } from '../../../models/tensors/tensor.js';

/** n pictures of 2 × 4 pixels whose levels are known. */
function pictures(n: number, level: (image: number, pixel: number, channel: number) => number) {
  const data = Uint8Array.from({ length: n * 24 }, (_, i) =>
    level(Math.floor(i / 24), Math.floor((i % 24) / 3), i % 3),
  );
  return tensor('uint8', [n, 2, 4, 3], data);
}

describe('composeGrid', () => {
  const float = pictures(3, (image, pixel, channel) => 10 * image + pixel + 50 * channel);
  const quantized = pictures(
    3,
    (image, pixel, channel) => 10 * image + pixel + 50 * channel + (pixel === 7 ? 40 : pixel),
  );
  const grid = composeGrid({ float, quantized, prompts: ['a', 'b', 'c'], scale: 3, columns: 2 });
  const at = (x: number, y: number) =>
    Array.from(grid.rgb.subarray((y * grid.width + x) * 3, (y * grid.width + x) * 3 + 3));

  test('places every pixel of float, quantized and difference × 8, enlarged by repetition', () => {
    for (const [index, cell] of grid.cells.entries()) {
      const panel = (cell.width - 6) / 3;
      for (let pixel = 0; pixel < 8; pixel += 1) {
        for (const offset of [0, 2]) {
          const x = cell.x + (pixel % 4) * 3 + offset;
          const y = cell.y + Math.floor(pixel / 4) * 3 + offset;
          const levels = [0, 1, 2].map((channel) => 10 * index + pixel + 50 * channel);
          const error = pixel === 7 ? 40 : pixel;
          expect(at(x, y)).toEqual(levels);
          expect(at(x + panel + 3, y)).toEqual(levels.map((level) => level + error));
          expect(at(x + 2 * (panel + 3), y)).toEqual(new Array(3).fill(Math.min(255, 8 * error)));
        }
      }
    }
  });

  test('fills rows in reading order and stays inside its size', () => {
    expect(grid.rgb.length).toBe(grid.width * grid.height * 3);
    const [a, b, c] = grid.cells;
    expect(a?.y).toBe(b?.y);
    expect(c?.x).toBe(a?.x);
    expect(c?.y).toBeGreaterThan((a?.y ?? 0) + (a?.height ?? 0));
    for (const cell of grid.cells) {
      expect(cell.x + cell.width).toBeLessThanOrEqual(grid.width);
      expect(cell.y + cell.height).toBeLessThanOrEqual(grid.height);
    }
    expect(at(0, 0)).toEqual([250, 250, 250]);
  });

  test('refuses sets that do not belong together', () => {
    expect(() => composeGrid({ float, quantized, prompts: ['a'] })).toThrow(/prompt each/);
    expect(() => composeGrid({ float, quantized: pictures(2, () => 0), prompts: ['a', 'b', 'c'] })).toThrow(
      /differ in size/,
    );
  });
});
