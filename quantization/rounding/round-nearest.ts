import type { Float32Tensor } from '../../models/tensors/tensor.js';
import { dequantize, type GridParameters, quantize } from '../formats/integer-grid.js';
import { type WeightAxes, weightSpread } from './weight-scales.js';

/**
 * Round-to-nearest weights: codes = clamp(roundHalfToEven(w / s), −2^(b−1), 2^(b−1)−1), ŵ = codes · s, as ONNX
 * QuantizeLinear and DequantizeLinear compute them.
 */

function gridOf(scales: Float32Tensor, axes: WeightAxes): GridParameters {
  return { bits: axes.scheme.bits, signed: true, scale: scales, zeroPoint: null, ...weightSpread(axes) };
}

/** Signed codes of a weight (≤ 8 bits), row-major like it. `scales` are shaped as `weightScales` makes them. */
export function roundToCodes(weight: Float32Tensor, scales: Float32Tensor, axes: WeightAxes): Int8Array {
  if (axes.scheme.bits > 8) throw new RangeError(`weight codes have at most 8 bits, got ${axes.scheme.bits}`);
  return Int8Array.from(quantize(weight, gridOf(scales, axes)));
}

/** The float32 weight of dims `dims` that codes and scales stand for. */
export function dequantizeCodes(
  codes: Int8Array,
  dims: readonly number[],
  scales: Float32Tensor,
  axes: WeightAxes,
): Float32Tensor {
  return dequantize(codes, dims, gridOf(scales, axes));
}
