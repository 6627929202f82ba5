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

/** Some pictures of a source, in another order or several times: picture i of the result is picture `indices[i]`. */
export function selectedPictures(source: PictureSource, indices: readonly number[]): PictureSource {
  const at = (index: number): number => {
    const place = indices[index];
    if (place === undefined || source.keys[place] === undefined) throw new RangeError(`no picture ${index}`);
    return place;
  };
  return {
    ...source,
    n: indices.length,
    keys: indices.map((_, index) => source.keys[at(index)] as string),
    nameOf: (index) => source.nameOf(at(index)),
    read: (wanted) => source.read(wanted.map(at)),
  };
}
