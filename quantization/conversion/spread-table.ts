import { attribute, DATA_TYPE } from '../../models/onnx/graph.js';
import type { NodeEmitter } from '../../models/onnx/node-emitter.js';
import { elementCount, type Float32Tensor } from '../../models/tensors/tensor.js';
import type { ActivationQuantizer } from '../activation-quantizers.js';
import { rowsKey, type TimestepIndex } from './timestep-index.js';

/**
 * Tables with an entry per channel, pixel or token of a value: [T, E], or [T, G] for groups of entries with a [T, E] table
 * that says which group each entry is in.
 */

/** How a value is reshaped so that its entries are one axis and everything that shares a range another one. */
export interface SpreadLayout {
  /** Target of a Reshape: axis 0 stays, one axis is free. */
  readonly target: readonly number[];
  /** Axis in `target` along which a range reaches. */
  readonly blockAxis: number;
  /** Dims of the rows of a table as QuantizeLinear wants them: those of `target` with 1 along `blockAxis`, −1 for rows. */
  readonly picked: readonly number[];
  /** Target of an Expand behind that, when there are axes (heads) between the rows and the entries. */
  readonly repeated: readonly number[] | null;
}

/** @param dims of the value in some concrete run; only entries and heads are taken from them. */
export function spreadLayout(dims: readonly number[], axes: readonly number[]): SpreadLayout {
  const [first = 1, last = 1] = [axes[0], axes.at(-1)];
  const entries = entryCount(dims, axes);
  if (last === dims.length - 1) {
    return { target: [0, -1, entries], blockAxis: 1, picked: [-1, 1, entries], repeated: null };
  }
  if (first === 1) return { target: [0, entries, -1], blockAxis: 2, picked: [-1, entries, 1], repeated: null };
  const heads = elementCount(dims.slice(1, first));
  return {
    target: [0, heads, entries, -1],
    blockAxis: 3,
    picked: [-1, 1, entries, 1],
    repeated: [1, heads, 1, 1],
  };
}

/** Entries of a table over `axes`. */
export function entryCount(dims: readonly number[], axes: readonly number[]): number {
  return axes.reduce((count, axis) => count * (dims[axis] ?? 1), 1);
}

/** The [T, E] table of a value `table` [T, G] whose groups are `groups`, or `table` itself when there are none. */
export function emitEntries(table: string, groups: string | null, emitter: NodeEmitter): string {
  if (groups === null) return table;
  const indices = emitter.emit('Cast', [groups], { to: attribute.int(DATA_TYPE.int32) }, 'indices');
  return emitter.emit('GatherElements', [table, indices], { axis: attribute.int(1) }, 'entries');
}

/** Row numbers of a table with T rows, one per entry of axis 0 of the quantizer's value; zeros when T is 1. */
export function emitRows(
  quantizer: ActivationQuantizer,
  table: Float32Tensor,
  { index, dims }: { readonly index: TimestepIndex | null; readonly dims: readonly number[] },
  emitter: NodeEmitter,
): string {
  if ((table.dims[0] ?? 1) > 1 && index !== null) {
    const rows = index.rowsOf(quantizer.value, rowsKey(quantizer, dims));
    emitter.at(quantizer.id);
    return rows;
  }
  const shape = emitter.emit('Shape', [quantizer.value]);
  const length = emitter.emit('Slice', [shape, emitter.int64s([0]), emitter.int64s([1])]);
  return emitter.emit('Expand', [emitter.int64s([0]), length], {}, 'rows');
}
