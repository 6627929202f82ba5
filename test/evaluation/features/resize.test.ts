import sharp from 'sharp';
import { describe, expect, test } from 'vitest';
import { type ResizeKernel, resizeImages } from '../../../evaluation/features/resize.js';
import { concatRows, type Tensor, tensor } from '../../../models/tensors/tensor.js';
import { goldenImages, goldenJson, goldenPath } from '../golden.js';

interface Case {
  readonly input: string;
  readonly output: string;
  readonly filter: string;
  readonly out_hw: [number, number];
  readonly stored_crop?: { readonly rows: [number, number]; readonly cols: [number, number] };
  readonly full_sum?: number;
}

const CASES = goldenJson<Case[]>('metrics/resize/cases.json');

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

describe('resizeImages', () => {
  test.each(CASES.map((entry) => [entry.output, entry] as const))('is Pillow, to the level: %s', async (_, entry) => {
    const [height, width] = entry.out_hw;
    const resized = resizeImages(await load(entry.input), height, width, `pil-${entry.filter}` as ResizeKernel);
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
    expect(both.data).toEqual(concatRows(alone).data);
    expect(resizeImages(a, 32, 20, 'pil-bicubic')).toBe(a);
  });
});
