import { NibbleflowError } from '../../contracts/errors.js';
import { type Images, pairedSize } from './image-pairs.js';

/**
 * Structural similarity (Wang, Bovik, Sheikh & Simoncelli 2004) of uint8 pictures:
 * (2μₓμᵧ + C₁)(2σₓᵧ + C₂) / ((μₓ² + μᵧ² + C₁)(σₓ² + σᵧ² + C₂)), C₁ = (0.01·255)², C₂ = (0.03·255)²,
 * averaged over the window positions that lie inside the picture, then over channels.
 */
export interface SsimVariant {
  /** Weights of the window along one axis; the window is their outer product. */
  readonly window: readonly number[];
  /** Divide variances by N − 1 of the window's N pixels (scikit-image's default) instead of N (the paper). */
  readonly sampleCovariance: boolean;
}

const C1 = (0.01 * 255) ** 2;
const C2 = (0.03 * 255) ** 2;

/** 11 taps, σ = 1.5, normalised. */
const GAUSSIAN = gaussianWindow(5, 1.5);

/** The named variants; `gaussian-wang` is the paper's and ours, the others are scikit-image's defaults. */
export const SSIM_VARIANTS = {
  'gaussian-wang': { window: GAUSSIAN, sampleCovariance: false },
  gaussian: { window: GAUSSIAN, sampleCovariance: true },
  uniform7: { window: new Array<number>(7).fill(1 / 7), sampleCovariance: true },
} as const satisfies Record<string, SsimVariant>;

export type SsimName = keyof typeof SSIM_VARIANTS;

/** SSIM of each pair of uint8 NHWC pictures [n]. Throws InvalidInput when the window is larger than the pictures. */
export function ssimOfImages(reference: Images, candidate: Images, name: SsimName = 'gaussian-wang'): Float64Array {
  const { n, height, width, channels } = pairedSize(reference, candidate);
  const variant = SSIM_VARIANTS[name];
  const taps = variant.window.length;
  if (height < taps || width < taps) {
    throw new NibbleflowError('InvalidInput', `SSIM needs pictures of ${taps}×${taps} or more, got ${height}×${width}`);
  }
  return Float64Array.from({ length: n }, (_, image) => {
    let sum = 0;
    for (let channel = 0; channel < channels; channel += 1) {
      const at = (index: number) => (image * height * width + index) * channels + channel;
      const x = Float64Array.from({ length: height * width }, (_, i) => reference.data[at(i)] as number);
      const y = Float64Array.from({ length: height * width }, (_, i) => candidate.data[at(i)] as number);
      sum += ssimOfPlanes(x, y, height, width, variant);
    }
    return sum / channels;
  });
}

function ssimOfPlanes(x: Float64Array, y: Float64Array, height: number, width: number, variant: SsimVariant): number {
  const { window, sampleCovariance } = variant;
  const pixels = window.length ** 2;
  const correction = sampleCovariance ? pixels / (pixels - 1) : 1;
  const filter = (plane: Float64Array) => filterInside(plane, height, width, window);
  const meanX = filter(x);
  const meanY = filter(y);
  const meanXx = filter(x.map((value) => value * value));
  const meanYy = filter(y.map((value) => value * value));
  const meanXy = filter(x.map((value, i) => value * (y[i] as number)));
  let sum = 0;
  for (let i = 0; i < meanX.length; i += 1) {
    const mx = meanX[i] as number;
    const my = meanY[i] as number;
    const vx = correction * ((meanXx[i] as number) - mx * mx);
    const vy = correction * ((meanYy[i] as number) - my * my);
    const vxy = correction * ((meanXy[i] as number) - mx * my);
    sum += ((2 * mx * my + C1) * (2 * vxy + C2)) / ((mx * mx + my * my + C1) * (vx + vy + C2));
  }
  return sum / meanX.length;
}

/** Separable filter at the positions where the window lies inside: [h, w] gives [h − k + 1, w − k + 1]. */
function filterInside(plane: Float64Array, height: number, width: number, window: readonly number[]): Float64Array {
  const outWidth = width - window.length + 1;
  const outHeight = height - window.length + 1;
  const across = new Float64Array(height * outWidth);
  for (const [tap, weight] of window.entries()) {
    for (let row = 0; row < height; row += 1) {
      for (let column = 0; column < outWidth; column += 1) {
        across[row * outWidth + column] =
          (across[row * outWidth + column] as number) + weight * (plane[row * width + column + tap] as number);
      }
    }
  }
  const result = new Float64Array(outHeight * outWidth);
  for (const [tap, weight] of window.entries()) {
    const offset = tap * outWidth;
    for (let i = 0; i < result.length; i += 1) {
      result[i] = (result[i] as number) + weight * (across[i + offset] as number);
    }
  }
  return result;
}

function gaussianWindow(radius: number, sigma: number): number[] {
  const weights = Array.from({ length: 2 * radius + 1 }, (_, i) => Math.exp(-((i - radius) ** 2) / (2 * sigma ** 2)));
  const sum = weights.reduce((a, b) => a + b, 0);
  return weights.map((weight) => weight / sum);
}
