import type { ResizeMode } from '../features/resize-modes.js';

/** `fid` as TensorFlow resizes, which the extractor says; `fid[clean]` (clean-fid) and `fid[legacy]` (pytorch-fid) are other numbers. */
export function fidName(resize: ResizeMode = 'extractor'): string {
  return resize === 'extractor' ? 'fid' : `fid[${resize}]`;
}

/** `frechet[<extractor>@<first 8 hex digits of its sha256>]`: never "FID", which is another extractor's number. */
export function frechetName(extractor: string, sha256: string): string {
  if (!/^[0-9a-f]{8,64}$/.test(sha256)) throw new RangeError(`no hex digest: ${sha256}`);
  return `frechet[${extractor}@${sha256.slice(0, 8)}]`;
}

/** The name with its numbers of pictures: `frechet[…] n=64` or `frechet[…] n=64 vs 1640`. */
export function frechetLabel(name: string, n: number, referenceCount: number = n): string {
  return referenceCount === n ? `${name} n=${n}` : `${name} n=${n} vs ${referenceCount}`;
}
