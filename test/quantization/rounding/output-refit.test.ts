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

const float = Float64Array.from(gaussianTensor(2, 1, [SAMPLES]).data, (value) => 3 + value);
const quantized = Float64Array.from(
  gaussianTensor(2, 2, [SAMPLES]).data,
  (noise, at) => 1 + 0.7 * (float[at] ?? 0) + 0.2 * noise,
);

function mean(of: (at: number) => number): Float64Array {
  let sum = 0;
  for (let at = 0; at < SAMPLES; at += 1) sum += of(at) / SAMPLES;
  return Float64Array.of(sum);
}

const moments: OutputMoments = {
  float: mean((at) => float[at] as number),
  quantized: mean((at) => quantized[at] as number),
  product: mean((at) => (float[at] as number) * (quantized[at] as number)),
  square: mean((at) => (quantized[at] as number) ** 2),
};

function loss(slope: number, shift: number, ridge: number): number {
  return (
    (mean((at) => ((float[at] as number) - slope * (quantized[at] as number) - shift) ** 2)[0] as number) +
    ridge * (slope - 1) ** 2
  );
}

describe('the refit of an output', () => {
  test('is the penalized least-squares line, found by looking around it', () => {
    const { slope, shift } = refitOf(moments, true);
    const [s, t] = [slope[0] as number, shift[0] as number];
    const variance = (moments.square[0] as number) - (moments.quantized[0] as number) ** 2;
    const ridge = 0.01 * variance;
    for (const [ds, dt] of [
      [0.1, 0],
      [0, 0.1],
      [0.1, -0.1],
    ] as const) {
      const difference = loss(s + ds, t + dt, ridge) - loss(s - ds, t - dt, ridge);
      expect(Math.abs(difference)).toBeLessThan(TOLERANCE);
      expect(loss(s + ds, t + dt, ridge)).toBeGreaterThan(loss(s, t, ridge));
    }
    expect(loss(s, t, 0)).toBeLessThan(loss(1, 0, 0) / 1.5);
  });

  test('goes through zero where there is no bias to move', () => {
    const { slope, shift } = refitOf(moments, false);
    expect(shift[0]).toBe(0);
    const ridge = 0.01 * (moments.square[0] as number);
    const s = slope[0] as number;
    expect(Math.abs(loss(s + 0.1, 0, ridge) - loss(s - 0.1, 0, ridge))).toBeLessThan(TOLERANCE);
  });

  test.each([null, 4])('changes no code, with groups of %s', (groupSize) => {
    const dims = [3, 8];
    const scheme = { bits: 4, groupSize, range: 'absmax' } as const;
    const planned: PlannedWeight = { initializer: 'w', dims, outputAxis: 0, inputAxis: 1, bias: 'b', scheme };
    const weight = gaussianTensor(2, 3, dims);
    const held = { weight, scales: weightScales(weight, planned), bias: float32([3], [1, 2, 3]) };
    const refit = { slope: Float64Array.of(0.5, 1, 1.25), shift: Float64Array.of(0, 1, -1) };
    const after = applyRefit(held, planned, refit);
    expect([...roundToCodes(after.weight, after.scales, planned)]).toEqual([
      ...roundToCodes(held.weight, held.scales, planned),
    ]);
    expect([...(after.bias?.data ?? [])]).toEqual([1, 3, 2]);
    const last = held.scales.data.length - 1;
    expect((after.scales.data[last] as number) / (held.scales.data[last] as number)).toBeCloseTo(1.25, 6);
  });
});
