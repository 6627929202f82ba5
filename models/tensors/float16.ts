import { type Float32Tensor, float32, type Tensor, tensor } from './tensor.js';

/** IEEE 754 binary16: 1 sign bit, 5 exponent bits (bias 15), 10 fraction bits. */
const FRACTION_BITS = 10;
const SMALLEST_NORMAL_EXPONENT = -14;
const INFINITY_BITS = 0x7c00;
/** Above the midpoint of the largest finite number, 65504, and the next power of two, values round to infinity. */
const ROUNDS_TO_INFINITY = 65520;

/** The number that 16 bits stand for. */
export function numberFromHalf(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >>> FRACTION_BITS) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0x1f) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  if (exponent === 0) return sign * fraction * 2 ** (SMALLEST_NORMAL_EXPONENT - FRACTION_BITS);
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** The 16 bits nearest to a number; halves go to the even neighbour. */
export function halfFromNumber(value: number): number {
  if (Number.isNaN(value)) return INFINITY_BITS | 0x200;
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const magnitude = Math.abs(value);
  if (magnitude >= ROUNDS_TO_INFINITY) return sign | INFINITY_BITS;
  const exponent = Math.max(
    Math.floor(Math.log2(magnitude || 2 ** SMALLEST_NORMAL_EXPONENT)),
    SMALLEST_NORMAL_EXPONENT,
  );
  const units = roundToEven(magnitude / 2 ** (exponent - FRACTION_BITS));
  return sign | (units + (exponent - SMALLEST_NORMAL_EXPONENT) * 1024);
}

function roundToEven(value: number): number {
  const floor = Math.floor(value);
  const fraction = value - floor;
  const up = fraction > 0.5 || (fraction === 0.5 && floor % 2 === 1);
  return up ? floor + 1 : floor;
}

/** A float16 tensor's numbers, exactly, as float32. */
export function float32FromFloat16(value: Tensor<'float16'>): Float32Tensor {
  return float32(value.dims, Float32Array.from(value.data, numberFromHalf));
}

/** A float32 tensor rounded to float16. */
export function float16FromFloat32(value: Float32Tensor): Tensor<'float16'> {
  return tensor('float16', value.dims, Uint16Array.from(value.data, halfFromNumber));
}
