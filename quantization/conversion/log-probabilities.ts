import { attribute } from '../../models/onnx/graph.js';
import type { NodeEmitter } from '../../models/onnx/node-emitter.js';
import { float32 } from '../../models/tensors/tensor.js';
import type { ActivationQuantizer } from '../activation-quantizers.js';
import { SCALE_EPSILON } from '../formats/integer-grid.js';
import { LOG_GRIDS, SMALLEST_RATIO } from '../formats/log-grid.js';
import type { ActivationParameters } from '../quantized-parameters.js';

/**
 * Probabilities on a logarithmic grid (formats/log-grid.ts): u = −log2(p / d) with d the largest probability of each row of
 * axis 0 (a sample, or a head of one), found at run time, so that it follows the prompt; then a quantizer of equal steps for
 * u; then p̂ = d · 2^(−û). Both lowerings emit this around their own quantizer, so that they agree bit for bit.
 * @param quantizeSteps quantizes u; told the one range of its grid
 * @returns p̂
 */
export function emitLogProbabilities(
  quantizer: ActivationQuantizer,
  dims: readonly number[],
  emitter: NodeEmitter,
  quantizeSteps: (quantizer: ActivationQuantizer, range: ActivationParameters) => string,
): string {
  const { grid, ...scheme } = quantizer.scheme;
  if (grid === undefined) throw new RangeError(`${quantizer.value} has no logarithmic grid`);
  const within = emitter.int64s(dims.slice(1).map((_, index) => index + 1));
  const most = emitter.emit('ReduceMax', [quantizer.value, within], { keepdims: attribute.int(1) });
  const largest = emitter.emit('Max', [most, emitter.scalar(SCALE_EPSILON)], {}, 'largest');
  const ratio = emitter.emit('Max', [emitter.emit('Div', [quantizer.value, largest]), emitter.scalar(SMALLEST_RATIO)]);
  const logarithm = emitter.emit('Mul', [emitter.emit('Log', [ratio]), emitter.scalar(-1 / Math.LN2)], {}, 'logarithm');
  const steps = { ...quantizer, value: logarithm, scheme: { ...scheme, ranges: 'static' as const } };
  const range = { scale: float32([1], [LOG_GRIDS[grid].step]), zeroPoint: float32([1], [0]) };
  const exponent = emitter.emit('Neg', [quantizeSteps(steps, range)]);
  const power = emitter.emit('Pow', [emitter.scalar(2), exponent], {}, 'power');
  return emitter.emit('Mul', [power, largest], {}, 'probability');
}
