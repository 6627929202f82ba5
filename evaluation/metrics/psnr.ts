import { type Images, pairedSize } from './image-pairs.js';

/** PSNR of identical pictures, and the largest one shown; keeps means finite. */
export const PSNR_CAP_DB = 100;

/** Peak signal-to-noise ratio for uint8: 10·log10(255² / MSE) dB, at most PSNR_CAP_DB. */
export function psnrFromMse(mse: number): number {
  return mse === 0 ? PSNR_CAP_DB : Math.min(PSNR_CAP_DB, 10 * Math.log10((255 * 255) / mse));
}

/** Mean squared error of each pair of pictures [n], over height, width and channels, in squared levels. */
export function mseOfImages(reference: Images, candidate: Images): Float64Array {
  const { n, height, width, channels } = pairedSize(reference, candidate);
  const size = height * width * channels;
  return Float64Array.from({ length: n }, (_, image) => {
    let sum = 0;
    for (let i = image * size; i < (image + 1) * size; i += 1) {
      sum += ((reference.data[i] as number) - (candidate.data[i] as number)) ** 2;
    }
    return sum / size;
  });
}

/** PSNR in dB of each pair of uint8 NHWC pictures [n]. */
export function psnrOfImages(reference: Images, candidate: Images): Float64Array {
  return mseOfImages(reference, candidate).map(psnrFromMse);
}
