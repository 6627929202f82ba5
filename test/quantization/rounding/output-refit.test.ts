import { describe, expect, test } from 'vitest';
import { gaussianTensor } from '../../../models/tensors/random.js';
import { float32 } from '../../../models/tensors/tensor.js';
import type { PlannedWeight } from '../../../quantization/layer-plan.js';
import { applyRefit, type OutputMoments, refitOf } from '../../../quantization/rounding/output-refit.js';
import { roundToCodes } from '../../../quantization/rounding/round-nearest.js';
import { weightScales } from '../../../quantization/rounding/weight-scales.js';

const SAMPLES = 200;
/** Float64 arithmetic on 200 samples. */
const TOLERANCE = 1e-9;

const float = Float64Array.from(gaussianTensor(2, 1, [SAMPLES]).data, (value) => value);
const quantized = Float64Array.from(
  gaussianTensor(2, 2, [SAMPLES]).data,
  (noise, at) => 0.7 * (float[at] ?? 0) + 0.2 * noise,
);

function mean(of: (at: number) => number): Float64Array {
  let sum = 0;
  for (let at = 0; at < SAMPLES; at += 1) sum += of(at) / SAMPLES;
  return Float64Array.of(sum);
}

const moments: OutputMoments = {
  product: mean((at) => (float[at] as number) * (quantized[at] as number)),
  square: mean((at) => (quantized[at] as number) ** 2),
};

function loss(slope: number, ridge: number): number {
  const error = mean((at) => ((float[at] as number) - slope * (quantized[at] as number)) ** 2)[0] as number;
  return error + ridge * (slope - 1) ** 2;
}

describe('the refit of an output', () => {
  test('is the penalized least-squares slope, found by looking around it', () => {
    const [slope = 0] = refitOf(moments);
    const ridge = 0.01 * (moments.square[0] as number);
    expect(Math.abs(loss(slope + 0.1, ridge) - loss(slope - 0.1, ridge))).toBeLessThan(TOLERANCE);
    expect(loss(slope + 0.1, ridge)).toBeGreaterThan(loss(slope, ridge));
    expect(loss(slope, 0)).toBeLessThan(loss(1, 0));
  });

  test('a channel without any output keeps its scale', () => {
    const slopes = refitOf({ product: Float64Array.of(0, 0), square: Float64Array.of(0, 0) });
    expect([...slopes]).toEqual([1, 1]);
  });

  test.each([null, 4])('changes no code, with groups of %s', (groupSize) => {
    const dims = [3, 8];
    const scheme = { bits: 4, groupSize, range: 'absmax' } as const;
    const planned: PlannedWeight = { initializer: 'w', dims, outputAxis: 0, inputAxis: 1, bias: 'b', scheme };
    const weight = gaussianTensor(2, 3, dims);
    const held = { weight, scales: weightScales(weight, planned), bias: float32([3], [1, 2, 3]) };
    const after = applyRefit(held, planned, Float64Array.of(0.5, 1, 1.25));
    expect([...roundToCodes(after.weight, after.scales, planned)]).toEqual([
      ...roundToCodes(held.weight, held.scales, planned),
    ]);
    expect(after.bias).toBe(held.bias);
    const last = held.scales.data.length - 1;
    expect((after.scales.data[last] as number) / (held.scales.data[last] as number)).toBeCloseTo(1.25, 6);
  });
});
