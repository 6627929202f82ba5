import { attribute, DATA_TYPE } from '../../models/onnx/graph.js';
import type { NodeEmitter } from '../../models/onnx/node-emitter.js';
import { float32 } from '../../models/tensors/tensor.js';
import type { RangeGroups } from '../quantized-parameters.js';

/**
 * A row's entries from its groups as a product with a matrix of zeros and ones, [B, 1, G] · [B, G, E]: exact, since every sum
 * has one term that is not zero, and its derivative adds up what the entries of a group contribute.
 */

/** The membership matrices of the picked rows, [B, G, E] (B = 1 without `rows`). */
export function emitMembers(
  groups: RangeGroups,
  tableDims: readonly number[],
  rows: string | null,
  emitter: NodeEmitter,
): string {
  const [entries = 1, count = 1] = [groups.dims[1], tableDims[1]];
  const table = emitter.constant(float32(groups.dims, Float32Array.from(groups.data)), 'groups');
  const row = rows === null ? table : emitter.emit('Gather', [table, rows], { axis: attribute.int(0) });
  const across = emitter.emit('Reshape', [row, emitter.int64s([-1, 1, entries])]);
  const numbers = emitter.constant(
    float32(
      [1, count, 1],
      Float32Array.from({ length: count }, (_, index) => index),
    ),
  );
  const isMember = emitter.emit('Equal', [across, numbers]);
  return emitter.emit('Cast', [isMember], { to: attribute.int(DATA_TYPE.float32) }, 'members');
}

/** The entries [B, 1, E] of rows [B, G]. */
export function emitChosen(row: string, members: string, emitter: NodeEmitter): string {
  const across = emitter.emit('Unsqueeze', [row, emitter.int64s([1])]);
  return emitter.emit('MatMul', [across, members], {}, 'entries');
}
