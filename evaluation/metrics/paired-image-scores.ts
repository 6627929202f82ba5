import { NibbleflowError } from '../../contracts/errors.js';
import { canonicalOrder } from '../features/feature-set.js';
import type { PictureSource } from '../features/picture-source.js';
import { type LpipsOptions, lpipsOfImages } from './lpips.js';
import { psnrOfImages } from './psnr.js';
import { SSIM_VARIANTS, ssimOfImages } from './ssim.js';

/** Same-seed values of each picture, in the order of the sources. */
export interface PairedImageScores {
  readonly n: number;
  /** The two pictures' keys, one after the other: equal keys are equal pairs. */
  readonly keys: readonly string[];
  /** Places of the pairs in ascending order of their keys; sums over pairs in this order do not depend on the sources'. */
  readonly order: Uint32Array;
  readonly psnrDb: Float64Array;
  /** null when the pictures are smaller than the window. */
  readonly ssim: Float64Array | null;
  /** null when no extractor with layers was given. */
  readonly lpips: Float64Array | null;
}

export interface PairedScoring {
  /** What the LPIPS-style distance is measured with. */
  readonly lpips?: LpipsOptions;
  /** Pairs in memory at a time. */
  readonly pairsAtOnce?: number;
  readonly onProgress?: (done: number, total: number) => Promise<void> | void;
}

/** Pairs named in an error. */
const NAMED = 10;
const PAIRS_AT_ONCE = 32;
const SSIM_WINDOW = SSIM_VARIANTS['gaussian-wang'].window.length;

/**
 * PSNR, SSIM and the LPIPS-style distance of each pair: picture i of `float` with picture i of `candidate`, read and scored a
 * few at a time. Throws InvalidInput when the numbers of pictures or the sizes within a pair differ.
 */
export async function pairedImageScores(
  float: PictureSource,
  candidate: PictureSource,
  { lpips, pairsAtOnce = PAIRS_AT_ONCE, onProgress }: PairedScoring = {},
): Promise<PairedImageScores> {
  const { n } = float;
  if (candidate.n !== n) {
    throw new NibbleflowError('InvalidInput', `pairs need as many pictures on both sides, got ${n} and ${candidate.n}`);
  }
  const keys = float.keys.map((key, i) => `${key}${candidate.keys[i]}`);
  const psnrDb = new Float64Array(n);
  const ssim = new Float64Array(n);
  const distances = lpips === undefined ? null : new Float64Array(n);
  const unlike: string[] = [];
  let small = false;
  for (let first = 0; first < n; first += pairsAtOnce) {
    const indices = Array.from({ length: Math.min(pairsAtOnce, n - first) }, (_, i) => first + i);
    const [left, right] = [await float.read(indices), await candidate.read(indices)];
    for (const [i, index] of indices.entries()) {
      const [a, b] = [left[i], right[i]];
      if (a === undefined || b === undefined) throw new RangeError(`no pair ${index}`);
      if (a.dims.some((dim, axis) => dim !== b.dims[axis])) {
        unlike.push(`${float.nameOf(index)} ${sizeOf(a.dims)}, ${candidate.nameOf(index)} ${sizeOf(b.dims)}`);
        continue;
      }
      psnrDb[index] = psnrOfImages(a, b)[0] as number;
      if (Math.min(a.dims[1] ?? 0, a.dims[2] ?? 0) < SSIM_WINDOW) small = true;
      else ssim[index] = ssimOfImages(a, b)[0] as number;
    }
    if (lpips !== undefined && unlike.length === 0) distances?.set(await lpipsOfImages(left, right, lpips), first);
    await onProgress?.(first + indices.length, n);
  }
  if (unlike.length > 0) throw unlikeSizes(unlike, n);
  return { n, keys, order: canonicalOrder(keys), psnrDb, ssim: small ? null : ssim, lpips: distances };
}

/** Values in canonical order, so that what is summed up or resampled of them does not depend on the order of the sources. */
export function inCanonicalOrder(values: Float64Array, order: Uint32Array): Float64Array {
  return Float64Array.from(order, (place) => values[place] as number);
}

function sizeOf([, height, width]: readonly number[]): string {
  return `${width}×${height}`;
}

function unlikeSizes(pairs: readonly string[], total: number): NibbleflowError {
  const lines = pairs.slice(0, NAMED).map((line) => `\n    ${line}`);
  const more = pairs.length > NAMED ? `\n    and ${pairs.length - NAMED} more` : '';
  return new NibbleflowError(
    'InvalidInput',
    `${pairs.length} of ${total} pairs differ in size:${lines.join('')}${more}`,
    {
      fix: 'Pictures are compared pixel by pixel: give both sides the same size.',
    },
  );
}
