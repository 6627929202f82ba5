import { attribute } from '../../../models/onnx/graph.js';
import type { NodeEmitter } from '../../../models/onnx/node-emitter.js';
import { type Float32Tensor, float32 } from '../../../models/tensors/tensor.js';
import { codeRange } from '../../formats/integer-grid.js';
import type { PlannedWeight } from '../../layer-plan.js';
import type { WeightParameters } from '../../quantized-parameters.js';
import { dequantizeCodes } from '../round-nearest.js';

/**
 * Adaptive rounding (AdaRound, Nagel et al., ICML 2020, eq. 22–24): every weight learns whether it goes down or up.
 *
 *   ŵ = s · clamp(⌊w / s⌋ + h(a), min, max)      h(a) = clamp(1.2 · σ(a) − 0.1, 0, 1)
 *   penalty = Σ 1 − |2h − 1|^β                   0 where h is 0 or 1, 1 where it is ½
 *
 * It starts at h(a) = w / s − ⌊w / s⌋, which gives the float weight back, and ends at the bit a ≥ 0. Large β leaves all but the
 * middle alone, small β pushes everything to one side.
 */
const STRETCH = 1.2;
const MARGIN = 0.1;

/** Constants and starting point of a layer's rounding, all of the weight's dims. */
export interface RoundingStart {
  /** ⌊w / s⌋, not clamped. */
  readonly floor: Float32Tensor;
  /** s of every element. */
  readonly scales: Float32Tensor;
  readonly alpha: Float32Tensor;
}

export function roundingStart(held: WeightParameters, weight: PlannedWeight): RoundingStart {
  const scales = spreadScales(held, weight);
  const floor = new Float32Array(held.weight.data.length);
  const alpha = new Float32Array(floor.length);
  held.weight.data.forEach((value, index) => {
    const steps = Math.fround(value / (scales.data[index] as number));
    const below = Math.floor(steps);
    floor[index] = below;
    alpha[index] = alphaOf(steps - below);
  });
  return { floor: float32(weight.dims, floor), scales, alpha: float32(weight.dims, alpha) };
}

/** The a with h(a) = fraction, for a fraction in [0, 1]. */
export function alphaOf(fraction: number): number {
  return -Math.log(STRETCH / (fraction + MARGIN) - 1);
}

/** The weight that ships: whole codes times scales. Rounding it to the nearest code gives exactly these codes. */
export function hardWeight(held: WeightParameters, weight: PlannedWeight, alpha: Float32Tensor): Float32Tensor {
  const { floor } = roundingStart(held, weight);
  const { min, max } = codeRange({ bits: weight.scheme.bits, signed: true });
  const codes = Int8Array.from(floor.data, (below, index) => {
    const up = (alpha.data[index] as number) >= 0 ? 1 : 0;
    return Math.min(max, Math.max(min, below + up));
  });
  return dequantizeCodes(codes, weight.dims, held.scales, weight);
}

/** Emits h(a). */
export function emitRectifiedSigmoid(alpha: string, emitter: NodeEmitter): string {
  const stretched = emitter.emit('Mul', [emitter.emit('Sigmoid', [alpha]), emitter.scalar(STRETCH)]);
  const shifted = emitter.emit('Sub', [stretched, emitter.scalar(MARGIN)]);
  return emitter.emit('Clip', [shifted, emitter.scalar(0), emitter.scalar(1)], {}, 'h');
}

/** Emits ŵ for h. */
export function emitSoftWeight(h: string, start: RoundingStart, bits: number, emitter: NodeEmitter): string {
  const { min, max } = codeRange({ bits, signed: true });
  const codes = emitter.emit('Add', [emitter.constant(start.floor, 'floor'), h]);
  const clamped = emitter.emit('Clip', [codes, emitter.scalar(min), emitter.scalar(max)], {}, 'codes');
  return emitter.emit('Mul', [clamped, emitter.constant(start.scales, 'steps')], {}, 'weight');
}

/** Emits Σ 1 − |2h − 1|^β over the elements of h; β is a scalar value of the graph, above 1. */
export function emitPenalty(h: string, beta: string, emitter: NodeEmitter): string {
  const centred = emitter.emit('Sub', [emitter.emit('Mul', [h, emitter.scalar(2)]), emitter.scalar(1)]);
  const decided = emitter.emit('Pow', [emitter.emit('Abs', [centred]), beta]);
  const undecided = emitter.emit('Sub', [emitter.scalar(1), decided]);
  return emitter.emit('ReduceSum', [undecided], { keepdims: attribute.int(0) }, 'penalty');
}

function spreadScales({ scales }: WeightParameters, weight: PlannedWeight): Float32Tensor {
  const count = weight.dims.reduce((product, dim) => product * dim, 1);
  return dequantizeCodes(new Int8Array(count).fill(1), weight.dims, scales, weight);
}
