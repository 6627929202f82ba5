import { elementCount, int64 } from '../../tensors/tensor.js';
import type { Expressions, Value } from '../expressions.js';

/** Index tuples of GatherND, as rows of one long table. */
export interface FlatRows {
  /** Rows of the table. */
  readonly rows: number;
  /** Elements of a row. */
  readonly inner: number;
  /** One row number for each tuple, [tuples]. */
  readonly indices: Value;
}

/**
 * The row that each tuple (i_1 … i_k) of `indices` [batch…, …, k] picks from data of `dims`: Σ_j i_j · stride_j, plus the
 * offset of its batch; negative entries count from the end.
 */
export function flatRows(e: Expressions, dims: readonly number[], indices: Value, batchDims: number): FlatRows {
  const depth = indices.dims.at(-1) ?? 1;
  const sizes = dims.slice(batchDims, batchDims + depth);
  const strides = sizes.map((_, axis) => elementCount(sizes.slice(axis + 1)));
  const tuples = elementCount(indices.dims.slice(0, -1));
  const batches = elementCount(dims.slice(0, batchDims));
  const wide = e.reshape(indices, [batches, tuples / batches, depth]);
  const isNegative = e.compare('Less', wide, e.integers([0]));
  const positive = e.where(isNegative, e.add(wide, e.integers(sizes)), wide);
  const block = elementCount(sizes);
  const flat = e.reduceSum(e.mul(positive, e.integers(strides)), [2]);
  const offsets = Array.from({ length: batches }, (_, batch) => batch * block);
  const first = e.constant(`int64:offsets:${batches}:${block}`, int64([batches, 1, 1], offsets));
  const numbered = batches === 1 ? flat : e.add(flat, first);
  const inner = elementCount(dims.slice(batchDims + depth));
  return { rows: batches * block, inner, indices: e.reshape(numbered, [tuples]) };
}
