import { readFileSync } from 'node:fs';
import { tensorFromNpy } from '../../../../models/tensors/npy.js';
import { elementCount, type Float32Tensor, float32, type Tensor } from '../../../../models/tensors/tensor.js';

/** The weights of test/golden/inception, regenerated from the formula in its case.json. */

interface MapSummary {
  readonly shape: readonly number[];
  readonly mean: number;
  readonly std: number;
  readonly absmax: number;
  readonly head: readonly number[];
}

const GOLDEN = new URL('../../../golden/inception/', import.meta.url);

export const INCEPTION_CASE = JSON.parse(readFileSync(new URL('case.json', GOLDEN), 'utf8')) as {
  readonly tensors: readonly (readonly [index: number, name: string, dims: readonly number[]])[];
  readonly cases: Readonly<Record<string, Readonly<Record<string, MapSummary>>>>;
};

export function goldenArray(file: string): Tensor {
  return tensorFromNpy(readFileSync(new URL(file, GOLDEN)));
}

/** s = sin(0.7 j + 0.31 k + 0.05 (j mod 97)² / 97), scaled as each kind of tensor wants it. */
export function formulaWeights(): Map<string, Float32Tensor> {
  return new Map(
    INCEPTION_CASE.tensors.map(([k, name, dims]) => {
      const { base, factor } = scaleOf(name, dims);
      const data = new Float32Array(elementCount(dims));
      for (let j = 0; j < data.length; j += 1) {
        const s = Math.sin(0.7 * j + 0.31 * k + (0.05 * (j % 97) ** 2) / 97);
        data[j] = base + factor * s;
      }
      return [name, float32(dims, data)];
    }),
  );
}

function scaleOf(name: string, dims: readonly number[]): { base: number; factor: number } {
  if (name.endsWith('running_var')) return { base: 1, factor: 0.5 };
  if (name.endsWith('bn.weight')) return { base: 1, factor: 0.2 };
  return { base: 0, factor: dims.length >= 2 ? Math.sqrt(4 / elementCount(dims.slice(1))) : 0.1 };
}

/**
 * torch's bilinear interpolation of uint8 NCHW pictures / 255 to size × size (align_corners false, no antialias), then 2x − 1.
 */
export function preprocessed(images: Tensor, size: number): Float32Tensor {
  const [n = 0, channels = 0, height = 0, width = 0] = images.dims;
  const source = images.data as Uint8Array;
  const data = new Float32Array(n * channels * size * size);
  const [rows, columns] = [taps(height, size), taps(width, size)];
  let at = 0;
  for (let plane = 0; plane < n * channels; plane += 1) {
    for (const [top, bottom, y] of rows) {
      for (const [left, right, x] of columns) {
        const level = (row: number, column: number): number =>
          source[(plane * height + row) * width + column] as number;
        const upper = level(top, left) * (1 - x) + level(top, right) * x;
        const lower = level(bottom, left) * (1 - x) + level(bottom, right) * x;
        data[at] = (2 * (upper * (1 - y) + lower * y)) / 255 - 1;
        at += 1;
      }
    }
  }
  return float32([n, channels, size, size], data);
}

/** Two source pixels and the second one's share for each output pixel; torch computes them in float32. */
function taps(source: number, target: number): (readonly [number, number, number])[] {
  const scale = Math.fround(source / target);
  return Array.from({ length: target }, (_, index) => {
    const position = Math.max(0, Math.fround(Math.fround(scale * (index + 0.5)) - 0.5));
    const first = Math.floor(position);
    return [first, Math.min(first + 1, source - 1), position - first] as const;
  });
}
