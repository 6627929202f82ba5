import { attribute } from '../../models/onnx/graph.js';
import type { NodeEmitter } from '../../models/onnx/node-emitter.js';
import { tensor } from '../../models/tensors/tensor.js';
import type { ActivationQuantizer } from '../activation-quantizers.js';
import { codeRange, SCALE_EPSILON, symmetricDivisor } from '../formats/integer-grid.js';

/**
 * Ranges found at run time, one per pixel or token and group of channels:
 *
 *   unsigned:  s = (max(x, 0) − min(x, 0)) / (2^b − 1),  z = round(−min(x, 0) / s)
 *   signed:    s = (1 + 2⁻¹⁰) · max|x| / (2^(b−1) − ½),  z = 0
 *
 * The factor keeps the largest value, which half a code more would put beyond the grid, from lying exactly between two codes:
 * the last bit of its scale would choose one of them.
 * A value whose channels are split into groups is reshaped so that a group is an axis of its own. With a channel order the
 * channels are gathered in it first, and put back at the end.
 */
export interface DynamicRange {
  /** The value, regrouped: […, groups, group size, rest]; the value itself when there is one group. */
  readonly grouped: string;
  /** Axis of the group's members in `grouped`, and how many share a range (more than there are: all of them). */
  readonly axis: number;
  readonly blockSize: number;
  /** Same rank as `grouped`, 1 along `axis`. */
  readonly scale: string;
  /** −min(x, 0), dims of `scale`; null when signed. z = round(negatedMin / scale). */
  readonly negatedMin: string | null;
  /** Gives a value of `grouped`'s dims the dims of the original. */
  restore(value: string): string;
}

const TIE_BREAK = 1 + 2 ** -10;

/**
 * Block size of a range over all channels, where that is more than the planned run has: the axis of softmax·V counts tokens,
 * and a larger picture has more of them. ONNX allows any block that is at least as long as the axis.
 */
const WHOLE_AXIS = 4096;

/**
 * Emits scale and minimum of a dynamic quantizer. `lifted`: everything gets an axis of 1 at the end, which `restore` takes
 * away. `dims` are the value's dims in some concrete run (for its rank and channels).
 */
export function emitDynamicRange(
  quantizer: ActivationQuantizer,
  dims: readonly number[],
  emitter: NodeEmitter,
  options: { readonly lifted?: boolean } = {},
): DynamicRange {
  const grouping = arranged(quantizer, dims, emitter, options.lifted === true);
  const { bits, symmetric } = quantizer.scheme;
  const axes = emitter.int64s([grouping.axis]);
  const keep = { keepdims: attribute.int(1) };
  const epsilon = emitter.scalar(SCALE_EPSILON);
  if (symmetric) {
    const largest = emitter.emit('ReduceMax', [emitter.emit('Abs', [grouping.grouped]), axes], keep);
    const scale = emitter.emit('Mul', [largest, emitter.scalar(TIE_BREAK / symmetricDivisor(bits))]);
    return { ...grouping, scale: emitter.emit('Max', [scale, epsilon], {}, 'scale'), negatedMin: null };
  }
  const zero = emitter.scalar(0);
  const high = emitter.emit('Max', [emitter.emit('ReduceMax', [grouping.grouped, axes], keep), zero]);
  const low = emitter.emit('Min', [emitter.emit('ReduceMin', [grouping.grouped, axes], keep), zero]);
  const range = emitter.emit('Sub', [high, low]);
  const scale = emitter.emit('Mul', [range, emitter.scalar(1 / codeRange({ bits, signed: false }).max)]);
  return {
    ...grouping,
    scale: emitter.emit('Max', [scale, epsilon], {}, 'scale'),
    negatedMin: emitter.emit('Neg', [low]),
  };
}

/** `regroup` of the channels in the scheme's order. */
function arranged(
  quantizer: ActivationQuantizer,
  dims: readonly number[],
  emitter: NodeEmitter,
  lifted: boolean,
): ReturnType<typeof regroup> {
  const { channelOrder } = quantizer.scheme;
  if (channelOrder === undefined) return regroup(quantizer, dims, emitter, lifted);
  const axis = { axis: attribute.int(quantizer.channelAxis) };
  const indices = (channels: readonly number[]): string =>
    emitter.constant(tensor('int32', [channels.length], Int32Array.from(channels)), 'channels');
  const gathered = emitter.emit('Gather', [quantizer.value, indices(channelOrder)], axis, 'arranged');
  const grouping = regroup({ ...quantizer, value: gathered }, dims, emitter, lifted);
  const back = new Array<number>(channelOrder.length).fill(0);
  channelOrder.forEach((channel, place) => {
    back[channel] = place;
  });
  const restore = (value: string): string =>
    emitter.emit('Gather', [grouping.restore(value), indices(back)], axis, 'restored');
  return { ...grouping, restore };
}

function regroup(
  { value, channelAxis, scheme }: ActivationQuantizer,
  dims: readonly number[],
  emitter: NodeEmitter,
  lifted: boolean,
): Pick<DynamicRange, 'grouped' | 'axis' | 'blockSize' | 'restore'> {
  const axis = channelAxis < 0 ? channelAxis + dims.length : channelAxis;
  const channels = dims[axis] ?? 1;
  const blockSize = scheme.groupSize ?? channels;
  if (blockSize === channels) {
    const whole = scheme.groupSize === null ? Math.max(channels, WHOLE_AXIS) : blockSize;
    if (!lifted) return { grouped: value, axis, blockSize: whole, restore: (same) => same };
    const last = emitter.int64s([-1]);
    const restore = (one: string): string => emitter.emit('Squeeze', [one, last]);
    return { grouped: emitter.emit('Unsqueeze', [value, last]), axis, blockSize: whole, restore };
  }
  const leading = new Array<number>(axis).fill(0);
  const rest = axis === dims.length - 1 ? [] : [-1];
  const target = emitter.int64s([...leading, channels / blockSize, blockSize, ...rest, ...(lifted ? [1] : [])]);
  const original = emitter.emit('Shape', [value]);
  return {
    grouped: emitter.emit('Reshape', [value, target], {}, 'grouped'),
    axis: axis + 1,
    blockSize,
    restore: (grouped) => emitter.emit('Reshape', [grouped, original], {}, 'restored'),
  };
}
