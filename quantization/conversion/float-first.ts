import { attribute } from '../../models/onnx/graph.js';
import type { NodeEmitter } from '../../models/onnx/node-emitter.js';
import type { ActivationQuantizer } from '../activation-quantizers.js';

/** Emits a quantizer for a value of `dims`; returns the quantized value. */
export type EmitQuantizer = (quantizer: ActivationQuantizer, dims: readonly number[]) => string;

/**
 * Quantizes all of a value but the first entry of its `floatFirst` axis, which is cut off before and put back behind: the
 * start token of a text, which most of an image attends to, in keys and probabilities of cross-attention (DGQ, Ryu et al.,
 * ICLR 2025, §4.2). Without such an axis the quantizer is emitted as it is.
 * @param dims of the value in some concrete run
 */
export function emitAroundFirst(
  quantizer: ActivationQuantizer,
  dims: readonly number[],
  emitter: NodeEmitter,
  emit: EmitQuantizer,
): string {
  const { floatFirst: axis, ...scheme } = quantizer.scheme;
  if (axis === undefined) return emit(quantizer, dims);
  const axes = emitter.int64s([axis]);
  const cut = (from: number, to: number, label: string): string =>
    emitter.emit('Slice', [quantizer.value, emitter.int64s([from]), emitter.int64s([to]), axes], {}, label);
  const first = cut(0, 1, 'first');
  const rest = cut(1, WHOLE, 'rest');
  const restDims = dims.map((dim, at) => (at === axis ? dim - 1 : dim));
  const quantized = emit({ ...quantizer, value: rest, scheme }, restDims);
  return emitter.emit('Concat', [first, quantized], { axis: attribute.int(axis) }, 'joined');
}

/** An end behind every axis: the rest, however long it is. */
const WHOLE = 2 ** 31 - 1;
