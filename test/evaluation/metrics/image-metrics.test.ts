import { describe, expect, test } from 'vitest';
import { mseOfImages, PSNR_CAP_DB, psnrFromMse, psnrOfImages } from '../../../evaluation/metrics/psnr.js';
import { type SsimName, ssimOfImages } from '../../../evaluation/metrics/ssim.js';
import { concatRows, tensor } from '../../../models/tensors/tensor.js';
import { goldenImages, goldenJson } from '../golden.js';

const PAIRS = [
  '24x40_black_vs_white',
  '24x40_identical',
  '24x40_noise',
  '24x40_shift',
  '33x17_blur',
  '33x17_noise',
  '64x64_blur',
  '64x64_noise',
];

/** The golden set's tolerance against scikit-image. */
const GOLDEN_TOLERANCE = 1e-6;

interface Expected {
  readonly mse: number;
  readonly psnr: number | 'Infinity';
  readonly ssim_uniform7: number;
  readonly ssim_gaussian: number;
  readonly ssim_gaussian_wang: number;
}

function load(name: string) {
  const folder = `metrics/image_pairs/${name}`;
  return {
    a: goldenImages(`${folder}/a.npy`),
    b: goldenImages(`${folder}/b.npy`),
    expected: goldenJson<Expected>(`${folder}/expected.json`),
  };
}

describe('PSNR', () => {
  test.each(PAIRS)('of %s equals scikit-image, capped when identical', (name) => {
    const { a, b, expected } = load(name);
    const psnr = expected.psnr === 'Infinity' ? PSNR_CAP_DB : expected.psnr;
    expect(Math.abs((mseOfImages(a, b)[0] ?? Number.NaN) - expected.mse)).toBeLessThan(GOLDEN_TOLERANCE);
    expect(Math.abs((psnrOfImages(a, b)[0] ?? Number.NaN) - psnr)).toBeLessThan(GOLDEN_TOLERANCE);
  });

  test('is per picture of a set, and never above the cap', () => {
    const { a, b } = load('24x40_noise');
    const other = load('24x40_shift');
    const set = psnrOfImages(concatRows([a, other.a]), concatRows([b, other.b]));
    expect(Array.from(set)).toEqual([...psnrOfImages(a, b), ...psnrOfImages(other.a, other.b)]);
    expect(psnrFromMse(1e-9)).toBe(PSNR_CAP_DB);
  });
});

describe('SSIM', () => {
  const variants: [SsimName, keyof Expected][] = [
    ['gaussian-wang', 'ssim_gaussian_wang'],
    ['gaussian', 'ssim_gaussian'],
    ['uniform7', 'ssim_uniform7'],
  ];
  test.each(PAIRS.flatMap((name) => variants.map(([variant, key]) => [name, variant, key] as const)))(
    'of %s, %s, equals scikit-image',
    (name, variant, key) => {
      const { a, b, expected } = load(name);
      expect(Math.abs((ssimOfImages(a, b, variant)[0] ?? Number.NaN) - Number(expected[key]))).toBeLessThan(
        GOLDEN_TOLERANCE,
      );
    },
  );

  test('is the paper’s variant by default and refuses pictures smaller than its window', () => {
    const { a, b } = load('33x17_blur');
    expect(ssimOfImages(a, b)).toEqual(ssimOfImages(a, b, 'gaussian-wang'));
    const tiny = tensor('uint8', [1, 8, 8, 3], new Uint8Array(192));
    expect(() => ssimOfImages(tiny, tiny)).toThrow(/11×11/);
  });
});

test('pictures of different sizes cannot be compared', () => {
  expect(() => psnrOfImages(load('24x40_noise').a, load('33x17_blur').a)).toThrow(/differ in size/);
});
