import { elementCount } from '../../tensors/tensor.js';
import { dimsText, ShapeRuleError } from './shape-rule.js';

/**
 * Multidirectional broadcasting (numpy rules).
 * @throws ShapeRuleError when the dims do not fit each other.
 */
export function broadcastDims(...all: readonly (readonly number[])[]): number[] {
  const rank = Math.max(0, ...all.map((dims) => dims.length));
  return Array.from({ length: rank }, (_, axis) => {
    let result = 1;
    for (const dims of all) {
      const dim = dims[axis - rank + dims.length] ?? 1;
      if (dim === 1 || dim === result) continue;
      if (result !== 1) throw new ShapeRuleError(`dims ${all.map(dimsText).join(' and ')} cannot be broadcast`);
      result = dim;
    }
    return result;
  });
}

/** Row-major strides in elements. */
export function stridesOf(dims: readonly number[]): number[] {
  const strides = dims.map(() => 1);
  for (let axis = dims.length - 2; axis >= 0; axis -= 1) {
    strides[axis] = (strides[axis + 1] ?? 1) * (dims[axis + 1] ?? 1);
  }
  return strides;
}

/** For each element of a tensor of `dims` (row-major), the sum over axes of coordinate × `strides[axis]`, plus `start`. */
export function stridedIndices(dims: readonly number[], strides: readonly number[], start = 0): Int32Array {
  const result = new Int32Array(elementCount(dims));
  const coordinate = dims.map(() => 0);
  let index = start;
  for (let position = 0; position < result.length; position += 1) {
    result[position] = index;
    for (let axis = dims.length - 1; axis >= 0; axis -= 1) {
      const stride = strides[axis] ?? 0;
      const next = (coordinate[axis] ?? 0) + 1;
      index += stride;
      coordinate[axis] = next;
      if (next < (dims[axis] ?? 0)) break;
      coordinate[axis] = 0;
      index -= stride * next;
    }
  }
  return result;
}

/** For each element of the broadcast result, the element of the tensor of dims `from` it comes from. */
export function broadcastIndices(from: readonly number[], to: readonly number[]): Int32Array {
  const strides = stridesOf(from);
  const offset = to.length - from.length;
  return stridedIndices(
    to,
    to.map((_, axis) => ((from[axis - offset] ?? 1) === 1 ? 0 : (strides[axis - offset] ?? 0))),
  );
}
