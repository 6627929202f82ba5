import sharp from 'sharp';
import { describe, expect, test } from 'vitest';
import { resizeImages } from '../../../evaluation/features/resize.js';
import { resizePlane, resizeToFloat } from '../../../evaluation/features/resize-float.js';
import {
  isLevelKernel,
  type LevelKernel,
  RESIZE_KERNEL_NAMES,
  type ResizeKernel,
} from '../../../evaluation/features/resize-kernels.js';
import { concatRows, type Tensor, tensor } from '../../../models/tensors/tensor.js';
import { goldenFloat32, goldenImages, goldenJson, goldenPath } from '../golden.js';

interface Case {
  readonly input: string;
  readonly output: string;
  readonly lib: string;
  readonly mode?: string;
  readonly filter?: string;
  readonly antialias?: boolean;
  readonly align_corners?: boolean | null;
  readonly out_hw: [number, number];
  readonly stored_crop?: { readonly rows: [number, number]; readonly cols: [number, number] };
  readonly full_sum?: number;
}

const CASES = goldenJson<Case[]>('metrics/resize/cases.json');

/** float32 sums of up to ~50 levels in another order, and Pillow's float32 between its passes. */
const PILLOW_FLOAT_TOLERANCE = 1e-4;
/** torch multiplies and adds in float32; its positions are ours to the bit. */
const TORCH_TOLERANCE = 1e-4;
/** torch computes the weights of its cubic in float32: four of up to 1.4, times 255 levels. */
const TORCH_CUBIC_TOLERANCE = 5e-4;
/** torch computes the positions of its antialiased taps in float32, we in float64: the golden set's own allowance. */
const TORCH_ANTIALIAS_TOLERANCE = 2e-3;
/** The golden set's allowance for TensorFlow 1. */
const TF1_TOLERANCE = 1e-3;
/** Of a sum over a picture, relative: float32 rounding of each value. */
const SUM_RELATIVE = 1e-7;

function kernelOf({ lib, mode, filter, antialias, align_corners }: Case): ResizeKernel {
  if (lib === 'Pillow') return `pil-${filter}${mode === 'F' ? '-float' : ''}` as ResizeKernel;
  if (lib.startsWith('torch_fidelity')) return 'tf1-bilinear';
  return `torch-${mode}${antialias ? '-antialias' : ''}${align_corners ? '-corners' : ''}` as ResizeKernel;
}

const NAMED = CASES.map((entry) => [entry.output, kernelOf(entry), entry] as const);

async function load(file: string): Promise<Tensor<'uint8'>> {
  if (!file.endsWith('.png')) return goldenImages(`metrics/resize/${file}`);
  const { data, info } = await sharp(goldenPath(`metrics/resize/${file}`))
    .removeAlpha()
    .raw()
    .toBuffer({ resolveWithObject: true });
  return tensor('uint8', [1, info.height, info.width, info.channels], new Uint8Array(data));
}

function crop(image: Tensor<'uint8'>, [top, bottom]: [number, number], [left, right]: [number, number]): Uint8Array {
  const [, , width = 0, channels = 0] = image.dims;
  const rows = Array.from({ length: bottom - top }, (_, i) =>
    Array.from(image.data.subarray(((top + i) * width + left) * channels, ((top + i) * width + right) * channels)),
  );
  return Uint8Array.from(rows.flat());
}

function largestDifference(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  expect(actual.length).toBe(expected.length);
  let largest = 0;
  for (let i = 0; i < actual.length; i += 1) {
    largest = Math.max(largest, Math.abs((actual[i] as number) - (expected[i] as number)));
  }
  return largest;
}

describe('resizeImages', () => {
  const levels = NAMED.filter(([, kernel]) => isLevelKernel(kernel));
  test.each(levels)('is Pillow, to the level: %s', async (_, kernel, entry) => {
    const [height, width] = entry.out_hw;
    const resized = resizeImages(await load(entry.input), height, width, kernel as LevelKernel);
    const expected = goldenImages(`metrics/resize/${entry.output}`).data;
    const actual = entry.stored_crop ? crop(resized, entry.stored_crop.rows, entry.stored_crop.cols) : resized.data;
    expect(Buffer.compare(Buffer.from(actual), Buffer.from(expected))).toBe(0);
    if (entry.full_sum !== undefined) expect(resized.data.reduce((a, b) => a + b, 0)).toBe(entry.full_sum);
  });

  test('treats every picture of a set alike and leaves equal sizes alone', () => {
    const a = goldenImages('metrics/resize/in_u8_32x20.npy');
    const flipped = { ...a, data: Uint8Array.from(a.data).reverse() };
    const both = resizeImages(concatRows([a, flipped]), 15, 9, 'pil-bicubic');
    const alone = [a, flipped].map((image) => resizeImages(image, 15, 9, 'pil-bicubic'));
    expect(Buffer.compare(both.data, concatRows(alone).data)).toBe(0);
    expect(resizeImages(a, 32, 20, 'pil-bicubic')).toBe(a);
  });
});

describe('resizePlane', () => {
  const tolerances: [string, number][] = [
    ['pil', PILLOW_FLOAT_TOLERANCE],
    ['torch-nearest', 0],
    ['torch-bilinear-antialias', TORCH_ANTIALIAS_TOLERANCE],
    ['torch-bicubic-antialias', TORCH_ANTIALIAS_TOLERANCE],
    ['torch-bicubic', TORCH_CUBIC_TOLERANCE],
    ['torch', TORCH_TOLERANCE],
  ];
  const floats = NAMED.filter(([, kernel]) => !isLevelKernel(kernel) && kernel !== 'tf1-bilinear');
  test.each(floats)('is the library: %s', (_, kernel, entry) => {
    const input = goldenFloat32(`metrics/resize/${entry.input}`);
    const [height = 0, width = 0] = input.dims;
    const resized = resizePlane({ height, width, data: input.data }, ...entry.out_hw, kernel);
    const expected = goldenFloat32(`metrics/resize/${entry.output}`);
    const [, tolerance = 0] = tolerances.find(([prefix]) => kernel.startsWith(prefix)) ?? [];
    expect(largestDifference(resized.data, expected.data)).toBeLessThanOrEqual(tolerance);
  });

  test('every kernel has a golden case, but for the box in floats, which has one in levels', () => {
    const covered = new Set(NAMED.map(([, kernel]) => kernel));
    expect(RESIZE_KERNEL_NAMES.filter((kernel) => !covered.has(kernel))).toEqual(['pil-box-float']);
    const input = goldenFloat32('metrics/resize/in_f32_30x44.npy');
    // shrinking both sides by whole numbers, the box is the mean of blocks, which torch calls area
    const plane = { height: 30, width: 44, data: input.data };
    const box = resizePlane(plane, 10, 11, 'pil-box-float');
    expect(largestDifference(box.data, resizePlane(plane, 10, 11, 'torch-area').data)).toBeLessThan(
      PILLOW_FLOAT_TOLERANCE,
    );
  });
});

describe('resizeToFloat', () => {
  test('is TensorFlow 1: tf1bilinear_32x32_to_299x299', async () => {
    const entry = CASES.find(({ lib }) => lib.startsWith('torch_fidelity')) as Case;
    const resized = resizeToFloat(await load(entry.input), 299, 299, 'tf1-bilinear');
    const { rows, cols } = entry.stored_crop as NonNullable<Case['stored_crop']>;
    const expected = goldenFloat32(`metrics/resize/${entry.output}`);
    const values: number[] = [];
    for (let channel = 0; channel < 3; channel += 1) {
      for (let row = rows[0]; row < rows[1]; row += 1) {
        for (let column = cols[0]; column < cols[1]; column += 1) {
          values.push(resized.data[(channel * 299 + row) * 299 + column] as number);
        }
      }
    }
    expect(largestDifference(values, expected.data)).toBeLessThanOrEqual(TF1_TOLERANCE);
    const sum = resized.data.reduce((a, b) => a + b, 0);
    expect(Math.abs(sum / (entry.full_sum as number) - 1)).toBeLessThan(SUM_RELATIVE);
  });

  test('keeps what Pillow in levels rounds and clamps away, and gives levels with the kernels that make them', () => {
    const edge = tensor(
      'uint8',
      [1, 4, 4, 3],
      Uint8Array.from({ length: 48 }, (_, i) => (i % 12 < 6 ? 0 : 255)),
    );
    const float = resizeToFloat(edge, 9, 13, 'pil-bicubic-float');
    expect(Math.min(...float.data)).toBeLessThan(-1);
    expect(Math.max(...float.data)).toBeGreaterThan(256);
    const levels = resizeToFloat(edge, 9, 13, 'pil-bicubic');
    expect(levels.data.every((value) => Number.isInteger(value) && value >= 0 && value <= 255)).toBe(true);
    const clamped = Array.from(float.data, (value) => Math.min(255, Math.max(0, value)));
    // two roundings to levels
    expect(largestDifference(levels.data, clamped)).toBeLessThanOrEqual(1);
    expect(levels.dims).toEqual([1, 3, 9, 13]);
  });
});
