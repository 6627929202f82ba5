import { attribute, DATA_TYPE } from '../../models/onnx/graph.js';
import type { NodeEmitter } from '../../models/onnx/node-emitter.js';
import type { Shapes } from '../../models/onnx/shape-inference.js';
import type { ActivationQuantizer } from '../activation-quantizers.js';
import type { FloatContext, FloatLowering, WeightRounding } from '../conversion/lower-to-float.js';
import type { Surrogates } from './surrogate-gradients.js';

/**
 * The trust gradient estimator (Panferov et al. 2025, "QuEST: Stable training of LLMs with 1-bit weights and activations", §3.2):
 *
 *   ∂L/∂x = ∂L/∂x_q · [ |x_q − x| ≤ T · RMS(x) ],   T = factor · α_b / (2^b − 1)
 *
 * instead of a gradient that passes everywhere, or everywhere inside the grid. α_b is where a mid-rise grid of 2^b levels from
 * −α to α fits N(0, 1) best by squared error, so that T · RMS is half a step of the best grid for a Gaussian of that spread. RMS
 * is taken over the elements that share a scale. The gradient by the scale stays LSQ's. The mask is a constant for
 * derivatives.
 */
const GAUSSIAN_LIMITS: readonly number[] = [1.49353, 2.05107, 2.514, 2.91615, 3.27798, 3.6111, 3.9222];
const FEWEST_BITS = 2;

/** α_b for 2 to 8 bits. Throws RangeError for others. */
export function gaussianLimit(bits: number): number {
  const limit = GAUSSIAN_LIMITS[bits - FEWEST_BITS];
  if (limit === undefined) throw new RangeError(`no grid of ${bits} bits`);
  return limit;
}

/** α_b / (2^b − 1): half a step of the best grid for N(0, 1). */
export function trustRadius(bits: number): number {
  return gaussianLimit(bits) / (2 ** bits - 1);
}

/** A value, what it was quantized to (same units), and the axes over which elements share a scale. */
export interface Quantization {
  readonly value: string;
  readonly quantized: string;
  readonly axes: readonly number[];
  readonly bits: number;
}

/** value · mask: as a summand of the quantized value it has the trust gradient by `value`. */
export function emitTrusted({ value, quantized, axes, bits }: Quantization, factor: number, e: NodeEmitter): string {
  const error = e.emit('Sub', [quantized, value]);
  const squares = e.emit('Mul', [value, value]);
  const energy = e.emit('ReduceMean', [squares, e.int64s(axes)], { keepdims: attribute.int(1) });
  const limit = e.emit('Mul', [energy, e.scalar((factor * trustRadius(bits)) ** 2)]);
  const isTrusted = e.emit('LessOrEqual', [e.emit('Mul', [error, error]), limit]);
  const mask = e.emit('Cast', [isTrusted], { to: attribute.int(DATA_TYPE.float32) }, 'trusted');
  return e.emit('Mul', [value, mask], {}, 'masked');
}

/** Shapes that know a value by a second name. */
class AliasedShapes implements Shapes {
  private readonly originals = new Map<string, string>();

  constructor(private readonly shapes: Shapes) {}

  add(alias: string, original: string): void {
    this.originals.set(alias, original);
  }

  dimsOf(value: string): readonly number[] {
    return this.shapes.dimsOf(this.originals.get(value) ?? value);
  }

  typeOf(value: string): ReturnType<Shapes['typeOf']> {
    return this.shapes.typeOf(this.originals.get(value) ?? value);
  }

  constantOf(value: string): ReturnType<Shapes['constantOf']> {
    return this.shapes.constantOf(this.originals.get(value) ?? value);
  }

  has(value: string): boolean {
    return this.shapes.has(this.originals.get(value) ?? value);
  }
}

/**
 * A float lowering whose activations and trained weights have the trust gradient. `lower` makes the lowering that does the
 * forward arithmetic.
 */
export function trustLowering(
  context: FloatContext,
  factor: number,
  emitter: NodeEmitter,
  lower: (context: FloatContext) => FloatLowering,
): { readonly lowering: FloatLowering; readonly surrogates: Surrogates } {
  const shapes = new AliasedShapes(context.shapes);
  const surrogates = new Map<string, readonly string[]>();
  const weightRounding = (rounding: WeightRounding): string => {
    const masked = trustedCodes(rounding, factor, emitter);
    const result = emitter.emit('Identity', [rounding.rounded], {}, 'codes');
    surrogates.set(result, [masked]);
    return result;
  };
  const plain = lower({ ...context, shapes, weightRounding });
  const activation: FloatLowering['activation'] = (quantizer, e) => {
    // A second name for the value: its derivative is cut, the one by the range is not.
    const held = e.emit('Identity', [quantizer.value], {}, 'held');
    shapes.add(held, quantizer.value);
    surrogates.set(held, []);
    const quantized = plain.activation({ ...quantizer, value: held }, e);
    const axes = sharedAxes(quantizer, shapes.dimsOf(held).length, context.parameters);
    const { value } = quantizer;
    const masked = emitTrusted({ value, quantized, axes, bits: quantizer.scheme.bits }, factor, e);
    const result = e.emit('Identity', [quantized], {}, 'value');
    surrogates.set(result, [quantized, masked]);
    return result;
  };
  return { lowering: { ...plain, activation }, surrogates };
}

/** Axes over which elements of a value share a scale: a token's channels at run time; for stored ranges all but rows and entries. */
function sharedAxes(
  { id, channelAxis, scheme }: ActivationQuantizer,
  rank: number,
  { activations }: FloatContext['parameters'],
): number[] {
  if (scheme.ranges === 'dynamic') return [channelAxis < 0 ? channelAxis + rank : channelAxis];
  const entries = activations.get(id)?.spread?.axes ?? [];
  return Array.from({ length: rank - 1 }, (_, index) => index + 1).filter((axis) => !entries.includes(axis));
}

/** Codes of a trained weight, masked; groups are an axis of their own while RMS is taken. */
function trustedCodes(
  { codes, rounded, bits, dims, grouped, axes }: WeightRounding,
  factor: number,
  emitter: NodeEmitter,
): string {
  const isGrouped = grouped.length !== dims.length;
  const spread = (value: string): string =>
    isGrouped ? emitter.emit('Reshape', [value, emitter.int64s(grouped)]) : value;
  const masked = emitTrusted({ value: spread(codes), quantized: spread(rounded), axes, bits }, factor, emitter);
  return isGrouped ? emitter.emit('Reshape', [masked, emitter.int64s(dims)]) : masked;
}
