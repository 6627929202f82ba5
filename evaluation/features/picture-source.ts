import type { Images } from '../metrics/image-pairs.js';

/**
 * Pictures that need not fit in memory: those of a folder, or of stored artifacts. uint8 RGB.
 */
export interface PictureSource {
  readonly n: number;
  /** sha256 of each picture's size and pixels, in the source's own order (file names, sample numbers). */
  readonly keys: readonly string[];
  /** Of every picture; null when they differ. */
  readonly height: number | null;
  readonly width: number | null;
  /** What a reader of scores must know: JPEG files, other sizes, converted greys … */
  readonly notes: readonly string[];
  /** What picture `index` is called: its file, or its number. */
  nameOf(index: number): string;
  /** The pictures at these places, each [1, h, w, 3]. */
  read(indices: readonly number[]): Promise<readonly Images[]>;
}
