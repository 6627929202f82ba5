import { elementCount, type Float32Tensor, float32 } from '../../models/tensors/tensor.js';

/**
 * Integer number grids, exactly as ONNX QuantizeLinear and DequantizeLinear (opset 21) define them:
 *
 *   q = saturate(roundHalfToEven(x / scale) + zeroPoint)        x̂ = (q − zeroPoint) · scale
 *
 * The division, the product and the result are float32. ±∞ saturates; the code of NaN is unspecified (0 here).
 * Scales are per tensor (axis null), per slice along an axis, or per block of `blockSize` elements along an axis, where the
 * last block may be shorter.
 */

/** Codes of a grid: signed −2^(b−1) … 2^(b−1)−1, unsigned 0 … 2^b−1. */
export interface IntegerGrid {
  readonly bits: number;
  readonly signed: boolean;
}

/** How scales are spread over a tensor, in the words of the ONNX attributes. */
export interface ScaleSpread {
  /** null: one scale for the whole tensor. Negative values count from the end. */
  readonly axis: number | null;
  /** Elements along `axis` that share a scale; null: one scale per index of `axis`. */
  readonly blockSize?: number | null;
}

/** The elements of one scale: `offset + a·strideA + b·strideB`. */
export interface ScaleMembers {
  readonly offset: number;
  readonly countA: number;
  readonly strideA: number;
  readonly countB: number;
  readonly strideB: number;
}

export interface ScaleLayout {
  /** Dims of the scale tensor: [], [n] or the tensor's dims with `axis` divided by the block size, rounded up. */
  readonly dims: readonly number[];
  readonly count: number;
  membersOf(scale: number): ScaleMembers;
}

export interface GridParameters extends IntegerGrid, ScaleSpread {
  /** Positive; dims as `scaleLayout` says. */
  readonly scale: Float32Tensor;
  /** One per scale; null: 0. */
  readonly zeroPoint: ArrayLike<number> | null;
}

/**
 * The smallest scale that is ever produced: 2⁻²⁶ ≈ 1.5e-8. Far below every step that carries information in float32 networks
 * (values around 1), and far above the subnormal numbers that runtimes flush to zero.
 */
export const SCALE_EPSILON = 2 ** -26;

const MIN_BITS = 1;
const MAX_BITS = 16;

/** 1.5·2^52: adding it to a double below 2^51 leaves no bits behind the point, rounded as IEEE 754 does: half to even. */
const ROUNDING_SHIFT = 1.5 * 2 ** 52;
const ROUNDING_LIMIT = 2 ** 51;

/** Nearest integer, ties to the even one; ±∞ and NaN stay. */
export function roundHalfToEven(value: number): number {
  if (Math.abs(value) < ROUNDING_LIMIT) return value + ROUNDING_SHIFT - ROUNDING_SHIFT;
  const below = Math.floor(value);
  return value - below === 0.5 ? 2 * Math.round(value / 2) : Math.round(value);
}

/** Smallest and largest code of a grid. */
export function codeRange(grid: IntegerGrid): { readonly min: number; readonly max: number } {
  if (!Number.isInteger(grid.bits) || grid.bits < MIN_BITS || grid.bits > MAX_BITS) {
    throw new RangeError(`an integer grid has ${MIN_BITS} to ${MAX_BITS} bits, got ${grid.bits}`);
  }
  return grid.signed
    ? { min: -(2 ** (grid.bits - 1)), max: 2 ** (grid.bits - 1) - 1 }
    : { min: 0, max: 2 ** grid.bits - 1 };
}

/** Which elements of a tensor of `dims` belong to which scale. Throws RangeError for an axis or block that does not fit. */
export function scaleLayout(dims: readonly number[], spread: ScaleSpread): ScaleLayout {
  const total = elementCount(dims);
  const blockSize = spread.blockSize ?? null;
  if (spread.axis === null) {
    if (blockSize !== null) throw new RangeError('a block size needs an axis');
    const all: ScaleMembers = { offset: 0, countA: 1, strideA: 0, countB: total, strideB: 1 };
    return { dims: [], count: 1, membersOf: () => all };
  }
  const axis = spread.axis < 0 ? spread.axis + dims.length : spread.axis;
  const length = dims[axis];
  if (length === undefined) throw new RangeError(`no axis ${spread.axis} in [${dims.join(', ')}]`);
  const inner = elementCount(dims.slice(axis + 1));
  const outer = elementCount(dims.slice(0, axis));
  if (blockSize === null) {
    return {
      dims: [length],
      count: length,
      membersOf: (scale) => ({
        offset: scale * inner,
        countA: outer,
        strideA: length * inner,
        countB: inner,
        strideB: 1,
      }),
    };
  }
  if (!Number.isInteger(blockSize) || blockSize < 1)
    throw new RangeError(`a block has at least one element, got ${blockSize}`);
  return blockedLayout({ dims, axis, length, inner, outer, blockSize });
}

function blockedLayout(of: {
  dims: readonly number[];
  axis: number;
  length: number;
  inner: number;
  outer: number;
  blockSize: number;
}): ScaleLayout {
  const blocks = Math.ceil(of.length / of.blockSize);
  return {
    dims: of.dims.map((dim, index) => (index === of.axis ? blocks : dim)),
    count: of.outer * blocks * of.inner,
    membersOf: (scale) => {
      const within = scale % of.inner;
      const block = Math.floor(scale / of.inner) % blocks;
      const outerIndex = Math.floor(scale / (of.inner * blocks));
      return {
        offset: (outerIndex * of.length + block * of.blockSize) * of.inner + within,
        countA: 1,
        strideA: 0,
        countB: Math.min(of.blockSize, of.length - block * of.blockSize),
        strideB: of.inner,
      };
    },
  };
}

/** Codes of `values`, row-major like them. */
export function quantize(values: Float32Tensor, parameters: GridParameters): Int32Array {
  const { min, max } = codeRange(parameters);
  const codes = new Int32Array(values.data.length);
  forEachScale(values.dims, parameters, (scale, zeroPoint, members) => {
    forEachMember(members, (index) => {
      const rounded = roundHalfToEven(Math.fround((values.data[index] as number) / scale)) + zeroPoint;
      codes[index] = Math.min(max, Math.max(min, rounded));
    });
  });
  return codes;
}

/** Values of `codes` laid out as `dims`. */
export function dequantize(
  codes: ArrayLike<number>,
  dims: readonly number[],
  parameters: GridParameters,
): Float32Tensor {
  const values = new Float32Array(elementCount(dims));
  if (codes.length !== values.length) throw new RangeError(`${codes.length} codes for [${dims.join(', ')}]`);
  forEachScale(dims, parameters, (scale, zeroPoint, members) => {
    forEachMember(members, (index) => {
      values[index] = ((codes[index] as number) - zeroPoint) * scale;
    });
  });
  return float32(dims, values);
}

/** Calls back with every element index of one scale. */
export function forEachMember(members: ScaleMembers, visit: (index: number) => void): void {
  for (let a = 0; a < members.countA; a += 1) {
    let index = members.offset + a * members.strideA;
    for (let b = 0; b < members.countB; b += 1, index += members.strideB) visit(index);
  }
}

function forEachScale(
  dims: readonly number[],
  parameters: GridParameters,
  visit: (scale: number, zeroPoint: number, members: ScaleMembers) => void,
): void {
  const layout = scaleLayout(dims, parameters);
  const { scale, zeroPoint } = parameters;
  if (scale.data.length !== layout.count) {
    throw new RangeError(`scale of dims [${layout.dims.join(', ')}] expected, got [${scale.dims.join(', ')}]`);
  }
  if (zeroPoint !== null && zeroPoint.length !== layout.count) {
    throw new RangeError(`${layout.count} zero points expected, got ${zeroPoint.length}`);
  }
  for (let index = 0; index < layout.count; index += 1) {
    visit(scale.data[index] as number, zeroPoint?.[index] ?? 0, layout.membersOf(index));
  }
}

/**
 * Scale and zero point of an unsigned grid that covers [min, max]:
 *   scale = (max − min) / (2^b − 1),  zeroPoint = roundHalfToEven(−min / scale)
 * after the range was widened to contain 0 (so that 0 is exactly a code, which padding and ReLU need). The zero point is
 * clamped to the codes, the scale to SCALE_EPSILON. Throws RangeError for bounds that are not finite or in the wrong order.
 */
export function affineParameters(
  min: number,
  max: number,
  bits: number,
): { readonly scale: number; readonly zeroPoint: number } {
  if (!Number.isFinite(min) || !Number.isFinite(max) || min > max) throw new RangeError(`no range: ${min} to ${max}`);
  const codes = codeRange({ bits, signed: false });
  const low = Math.min(0, min);
  const high = Math.max(0, max);
  const scale = Math.fround(Math.max(SCALE_EPSILON, (high - low) / codes.max));
  const zeroPoint = Math.min(codes.max, Math.max(0, roundHalfToEven(Math.fround(-low / scale))));
  return { scale, zeroPoint };
}

/**
 * absmax / symmetricDivisor is the scale of a signed grid: 2^(b−1) − ½, the middle between the sizes of the largest and the
 * smallest code. Both ends of [−absmax, absmax] then lie half a step from the code that they saturate to, which no value
 * inside exceeds either: the smallest step with a worst error of half a step (2^(b−1) − 1 leaves the lowest code unused,
 * 2^(b−1) clips a whole step off the positive end). It equals the step of the affine grid on the same range.
 */
export function symmetricDivisor(bits: number): number {
  return codeRange({ bits, signed: false }).max / 2;
}

/** Scale of a signed grid without zero point for values in [−absmax, absmax], at least SCALE_EPSILON. */
export function symmetricScale(absmax: number, bits: number): number {
  if (!Number.isFinite(absmax) || absmax < 0) throw new RangeError(`no range: ±${absmax}`);
  return Math.fround(Math.max(SCALE_EPSILON, absmax / symmetricDivisor(bits)));
}
