import type { Float32Tensor } from '../../models/tensors/tensor.js';
import type { ResizeMode } from './resize-modes.js';

/**
 * Rows of features that need not fit in memory: one per picture, in canonical order. Implementations read from memory or from
 * files; metrics read tiles.
 */
export interface FeatureRows {
  readonly n: number;
  readonly d: number;
  /** Rows first … end − 1, row-major [end − first, d]. The caller must not change them. */
  read(first: number, end: number): Promise<Float32Array>;
}

/** What an extractor says about each picture of a set. */
export interface FeatureSet {
  /** Name and sha256 (hex, whole) of the extractor, and how pictures got its size; default: as it says. */
  readonly extractor: { readonly name: string; readonly sha256: string; readonly resize?: ResizeMode };
  /** sha256 of each picture's pixels, ascending: the canonical order of all rows. */
  readonly keys: readonly string[];
  /** Pooled features [n, d]. */
  readonly pool: FeatureRows;
  /** Class scores before the softmax [n, classes]; undefined when the extractor has none. */
  readonly logits?: FeatureRows;
  /** A spatial feature map, flattened [n, c·h·w]; undefined when the extractor has none. */
  readonly spatial?: FeatureRows;
}

/**
 * The order in which every metric sees the pictures: ascending by key (sha256 of the pixels). A score therefore does not depend
 * on file names, shards or the worker that was faster; equal keys are equal pictures with equal rows.
 */
export function canonicalOrder(keys: readonly string[]): Uint32Array {
  const order = Uint32Array.from(keys, (_, index) => index);
  return order.sort((a, b) => compareText(keys[a] as string, keys[b] as string) || a - b);
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Rows of [n, d] features that are in memory already, in the order they have. */
export function rowsInMemory(features: Float32Tensor): FeatureRows {
  const [n = 0, d = 0] = features.dims;
  if (features.dims.length !== 2) throw new RangeError(`features are [n, d], got [${features.dims.join(', ')}]`);
  return { n, d, read: async (first, end) => features.data.subarray(first * d, end * d) };
}

/** Rows seen through a permutation or a selection: row i of the result is row `order[i]`. */
export function reorderedRows(rows: FeatureRows, order: Uint32Array): FeatureRows {
  return {
    n: order.length,
    d: rows.d,
    read: async (first, end) => {
      const result = new Float32Array((end - first) * rows.d);
      for (let i = first; i < end; ) {
        const source = order[i] as number;
        let run = 1;
        while (i + run < end && order[i + run] === source + run) run += 1;
        result.set(await rows.read(source, source + run), (i - first) * rows.d);
        i += run;
      }
      return result;
    },
  };
}
