import { type Attribute, attribute, DATA_TYPE } from '../../models/onnx/graph.js';
import type { NodeEmitter } from '../../models/onnx/node-emitter.js';
import { type Float32Tensor, tensor } from '../../models/tensors/tensor.js';
import type { ActivationQuantizer } from '../activation-quantizers.js';
import type { ActivationParameters } from '../quantized-parameters.js';
import { clampToGrid, containerType, quantizeDequantize } from './quantize-dequantize.js';
import { emitEntries, emitRows, spreadLayout } from './spread-table.js';
import type { TimestepIndex } from './timestep-index.js';

export interface TableContext {
  readonly index: TimestepIndex | null;
  /** Of the value, in some concrete run. */
  readonly dims: readonly number[];
}

/** ONNX allows any block that is at least as long as the axis: ranges reach over all of it, however long it is. */
const WHOLE_AXIS = 2 ** 20;

/**
 * A range per row and channel, pixel or token: the value is reshaped so that entries are an axis of their own, and each range
 * is one block. Everything of 8 bits gets an axis of 1 at the end (see lower-to-qdq.ts on 4-bit buffers and integer kernels).
 */
export function spreadQdq(
  quantizer: ActivationQuantizer,
  { scale, zeroPoint, spread }: ActivationParameters,
  { index, dims }: TableContext,
  emitter: NodeEmitter,
): string {
  if (spread === undefined) throw new RangeError(`the ranges of ${quantizer.id} are not spread`);
  const { bits, symmetric } = quantizer.scheme;
  const lift = bits > 4 ? [1] : [];
  const layout = spreadLayout(dims, spread.axes);
  const rows = emitRows(quantizer, scale, { index, dims }, emitter);
  const groups = spread.groups === null ? null : emitter.constant(spread.groups, 'groups');
  const pick = (table: string, label: string): string => {
    const entries = emitEntries(table, groups, emitter);
    const row = emitter.emit('Gather', [entries, rows], { axis: attribute.int(0) }, label);
    const shaped = emitter.emit('Reshape', [row, emitter.int64s([...layout.picked, ...lift])]);
    if (layout.repeated === null) return shaped;
    return emitter.emit('Expand', [shaped, emitter.int64s([...layout.repeated, ...lift])]);
  };
  const scales = pick(emitter.constant(scale, 'scales'), 'scale');
  const zero = symmetric ? null : pick(floatFromBytes(zeroPoint, emitter), 'zero');
  const type = { to: attribute.int(containerType(bits, false)) };
  const zeroCodes = zero === null ? null : emitter.emit('Cast', [zero], type, 'zero-code');
  const shape = emitter.emit('Shape', [quantizer.value]);
  const value = emitter.emit('Reshape', [quantizer.value, emitter.int64s([...layout.target, ...lift])], {}, 'spread');
  const clamped = clampToGrid(value, quantizer.scheme, scales, zero, emitter);
  const block: Record<string, Attribute> = {
    axis: attribute.int(layout.blockAxis),
    block_size: attribute.int(WHOLE_AXIS),
  };
  const grid = { scale: scales, zeroPoint: zeroCodes, spread: block };
  return emitter.emit('Reshape', [quantizeDequantize(clamped, grid, emitter, bits), shape], {}, 'restored');
}

/** Whole numbers 0 … 255, stored in a byte each. */
function floatFromBytes({ dims, data }: Float32Tensor, emitter: NodeEmitter): string {
  const bytes = emitter.constant(tensor('uint8', dims, Uint8Array.from(data)), 'zeros');
  return emitter.emit('Cast', [bytes], { to: attribute.int(DATA_TYPE.float32) });
}
