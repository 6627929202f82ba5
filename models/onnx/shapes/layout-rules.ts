import { elementCount, type Tensor } from '../../tensors/tensor.js';
import { intAttribute, intsAttribute } from '../graph.js';
import { broadcastDims, broadcastIndices, stridedIndices, stridesOf } from './broadcast.js';
import { selectElements, withDims } from './constant-elements.js';
import { dimAt, dimsText, LARGEST_CONSTANT, normalizeAxis, type ShapeRule, ShapeRuleError } from './shape-rule.js';

/** Operators that only move elements, without changing them. */

/** The elements of a constant at indices that are only computed when it is known and the result small. */
export function moved(
  source: Tensor | undefined,
  dims: readonly number[],
  indices: () => ArrayLike<number>,
): Tensor | undefined {
  if (source === undefined || elementCount(dims) > LARGEST_CONSTANT) return undefined;
  return selectElements(source, dims, indices());
}

const reshape: ShapeRule = ({ node, input, integers }) => {
  const { type, dims: from, constant } = input(0);
  const target = integers(1);
  const allowZero = intAttribute(node, 'allowzero', 0) === 1;
  const dims = target.map((dim, axis) => (dim === 0 && !allowZero ? dimAt(from, axis) : dim));
  const open = dims.indexOf(-1);
  const total = elementCount(from);
  if (open >= 0) dims[open] = total / elementCount(dims.filter((_, axis) => axis !== open));
  if (elementCount(dims) !== total || dims.some((dim) => !Number.isInteger(dim) || dim < 0)) {
    throw new ShapeRuleError(`cannot reshape ${dimsText(from)} to ${dimsText(target)}`);
  }
  return [{ type, dims, constant: withDims(constant, dims) }];
};

const flatten: ShapeRule = ({ node, input }) => {
  const { type, dims: from, constant } = input(0);
  const axis = intAttribute(node, 'axis', 1);
  const split = axis < 0 ? axis + from.length : axis;
  const dims = [elementCount(from.slice(0, split)), elementCount(from.slice(split))];
  return [{ type, dims, constant: withDims(constant, dims) }];
};

const transpose: ShapeRule = ({ node, input }) => {
  const { type, dims: from, constant } = input(0);
  const order = intsAttribute(node, 'perm') ?? from.map((_, axis) => from.length - 1 - axis);
  if (order.length !== from.length) throw new ShapeRuleError(`permutes ${order.length} axes of ${dimsText(from)}`);
  const dims = order.map((axis) => dimAt(from, axis));
  const strides = stridesOf(from);
  const indices = () =>
    stridedIndices(
      dims,
      order.map((axis) => strides[axis] ?? 0),
    );
  return [{ type, dims, constant: moved(constant, dims, indices) }];
};

/** Axes from the attribute (opset < 13) or input 1. */
function axesOf(context: Parameters<ShapeRule>[0]): readonly number[] | undefined {
  const attribute = intsAttribute(context.node, 'axes');
  if (attribute !== undefined) return attribute;
  return context.optional(1) === undefined ? undefined : context.integers(1);
}

const squeeze: ShapeRule = (context) => {
  const { type, dims: from, constant } = context.input(0);
  const axes = axesOf(context)?.map((axis) => normalizeAxis(axis, from.length));
  if (axes?.some((axis) => from[axis] !== 1)) throw new ShapeRuleError(`squeezes axes [${axes}] of ${dimsText(from)}`);
  const dims = from.filter((dim, axis) => (axes === undefined ? dim !== 1 : !axes.includes(axis)));
  return [{ type, dims, constant: withDims(constant, dims) }];
};

const unsqueeze: ShapeRule = (context) => {
  const { type, dims: from, constant } = context.input(0);
  const declared = axesOf(context) ?? [];
  const rank = from.length + declared.length;
  const axes = declared.map((axis) => normalizeAxis(axis, rank));
  const rest = [...from];
  const dims = Array.from({ length: rank }, (_, axis) => (axes.includes(axis) ? 1 : (rest.shift() ?? 1)));
  return [{ type, dims, constant: withDims(constant, dims) }];
};

const expand: ShapeRule = ({ input, integers }) => {
  const { type, dims: from, constant } = input(0);
  const dims = broadcastDims(from, integers(1));
  return [{ type, dims, constant: moved(constant, dims, () => broadcastIndices(from, dims)) }];
};

const tile: ShapeRule = ({ input, integers }) => {
  const { type, dims: from, constant } = input(0);
  const repeats = integers(1);
  if (repeats.length !== from.length) throw new ShapeRuleError(`repeats ${repeats.length} axes of ${dimsText(from)}`);
  const dims = from.map((dim, axis) => dim * (repeats[axis] ?? 1));
  const indices = () => {
    const interleaved = from.flatMap((dim, axis) => [repeats[axis] ?? 1, dim]);
    return stridedIndices(
      interleaved,
      stridesOf(from).flatMap((stride) => [0, stride]),
    );
  };
  return [{ type, dims, constant: moved(constant, dims, indices) }];
};

const concat: ShapeRule = ({ node, input }) => {
  const parts = node.inputs.map((_, index) => input(index));
  const [first] = parts;
  if (first === undefined) throw new ShapeRuleError('concatenates nothing');
  const axis = normalizeAxis(intAttribute(node, 'axis', 0), first.dims.length);
  for (const part of parts) {
    if (part.dims.length !== first.dims.length || part.dims.some((dim, at) => at !== axis && dim !== first.dims[at])) {
      throw new ShapeRuleError(`concatenates ${dimsText(part.dims)} to ${dimsText(first.dims)} along axis ${axis}`);
    }
  }
  const size = parts.reduce((sum, part) => sum + dimAt(part.dims, axis), 0);
  const dims = first.dims.with(axis, size);
  const constants = parts.map((part) => part.constant).filter((constant) => constant !== undefined);
  const complete = constants.length === parts.length && elementCount(dims) <= LARGEST_CONSTANT;
  return [{ type: first.type, dims, constant: complete ? joined(constants, dims, axis) : undefined }];
};

/** Copies the parts block by block: a block is what lies behind one index of the axes before `axis`. */
function joined(parts: readonly Tensor[], dims: readonly number[], axis: number): Tensor | undefined {
  const [first] = parts;
  if (first === undefined) return undefined;
  const result = selectElements(first, dims, []);
  const blocks = elementCount(dims.slice(0, axis));
  const target = result.data as Float32Array;
  let offset = 0;
  for (let block = 0; block < blocks; block += 1) {
    for (const part of parts) {
      const size = part.data.length / blocks;
      target.set((part.data as Float32Array).subarray(block * size, (block + 1) * size), offset);
      offset += size;
    }
  }
  return result;
}

const split: ShapeRule = (context) => {
  const { node } = context;
  const { type, dims: from, constant } = context.input(0);
  const axis = normalizeAxis(intAttribute(node, 'axis', 0), from.length);
  const declared =
    intsAttribute(node, 'split') ?? (context.optional(1) === undefined ? undefined : context.integers(1));
  const size = dimAt(from, axis);
  const count = node.outputs.length;
  const each = Math.ceil(size / count);
  const sizes = declared ?? Array.from({ length: count }, (_, index) => Math.min(each, size - index * each));
  if (sizes.length !== count || sizes.reduce((sum, one) => sum + one, 0) !== size) {
    throw new ShapeRuleError(`splits ${size} into ${dimsText(sizes)} for ${count} outputs`);
  }
  const strides = stridesOf(from);
  let start = 0;
  return sizes.map((one) => {
    const dims = from.with(axis, one);
    const offset = start * (strides[axis] ?? 1);
    start += one;
    return { type, dims, constant: moved(constant, dims, () => stridedIndices(dims, strides, offset)) };
  });
};

const slice: ShapeRule = (context) => {
  const { type, dims: from, constant } = context.input(0);
  const starts = context.integers(1);
  const ends = context.integers(2);
  const axes = context.optional(3) === undefined ? starts.map((_, index) => index) : context.integers(3);
  const steps = context.optional(4) === undefined ? starts.map(() => 1) : context.integers(4);
  const dims = [...from];
  const strides = stridesOf(from);
  let offset = 0;
  for (const [index, declared] of axes.entries()) {
    const axis = normalizeAxis(declared, from.length);
    const range = sliceRange(dimAt(from, axis), starts[index] ?? 0, ends[index] ?? 0, steps[index] ?? 1);
    offset += range.start * (strides[axis] ?? 0);
    dims[axis] = range.count;
    strides[axis] = (strides[axis] ?? 0) * (steps[index] ?? 1);
  }
  return [{ type, dims, constant: moved(constant, dims, () => stridedIndices(dims, strides, offset)) }];
};

/** First index and number of elements of a slice along one axis (clamping of the Slice operator). */
function sliceRange(dim: number, start: number, end: number, step: number): { start: number; count: number } {
  if (step === 0) throw new ShapeRuleError('has a step of 0');
  const from = start < 0 ? start + dim : start;
  const to = end < 0 ? end + dim : end;
  const low = step > 0 ? 0 : -1;
  const first = Math.min(Math.max(from, 0), step > 0 ? dim : dim - 1);
  const last = Math.min(Math.max(to, low), dim);
  return { start: first, count: Math.max(0, Math.ceil((last - first) / step)) };
}

const pad: ShapeRule = (context) => {
  const { type, dims: from } = context.input(0);
  const pads = context.integers(1);
  const axes =
    context.optional(3) === undefined
      ? from.map((_, axis) => axis)
      : context.integers(3).map((axis) => normalizeAxis(axis, from.length));
  const dims = [...from];
  for (const [index, axis] of axes.entries()) {
    dims[axis] = dimAt(from, axis) + (pads[index] ?? 0) + (pads[index + axes.length] ?? 0);
  }
  return [{ type, dims }];
};

const depthToSpace: ShapeRule = ({ node, input }) => {
  const { type, dims } = input(0);
  const [batch = 0, channels = 0, height = 0, width = 0] = dims;
  const block = intAttribute(node, 'blocksize', 1);
  return [{ type, dims: [batch, channels / (block * block), height * block, width * block] }];
};

const spaceToDepth: ShapeRule = ({ node, input }) => {
  const { type, dims } = input(0);
  const [batch = 0, channels = 0, height = 0, width = 0] = dims;
  const block = intAttribute(node, 'blocksize', 1);
  return [{ type, dims: [batch, channels * block * block, height / block, width / block] }];
};

export const LAYOUT_RULES: ReadonlyMap<string, ShapeRule> = new Map<string, ShapeRule>([
  ['Reshape', reshape],
  ['Flatten', flatten],
  ['Transpose', transpose],
  ['Squeeze', squeeze],
  ['Unsqueeze', unsqueeze],
  ['Expand', expand],
  ['Tile', tile],
  ['Concat', concat],
  ['Split', split],
  ['Slice', slice],
  ['Pad', pad],
  ['DepthToSpace', depthToSpace],
  ['SpaceToDepth', spaceToDepth],
]);
