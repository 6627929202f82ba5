import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Float32Tensor, float32 } from '../../../models/tensors/tensor.js';
import { symmetricScale } from '../../../quantization/formats/integer-grid.js';
import type { WeightScheme } from '../../../quantization/layer-plan.js';
import { dequantizeCodes, roundToCodes } from '../../../quantization/rounding/round-nearest.js';
import { type WeightAxes, weightScaleDims, weightScales } from '../../../quantization/rounding/weight-scales.js';
import { weightOf, zooDenoiser } from '../zoo-denoiser.js';

const { graph } = zooDenoiser();

/** A 3×3 convolution, a MatMul [K, N] and a Gemm with transB: [name, output axis, input axis]. */
const LAYERS: readonly (readonly [string, number, number])[] = [
  ['unet.mid_block.resnets.0.conv1.weight', 0, 1],
  ['onnx::MatMul_2393', 1, 0],
  ['unet.time_embedding.linear_2.weight', 0, 1],
];

function axes(outputAxis: number, inputAxis: number, scheme: Partial<WeightScheme> = {}): WeightAxes {
  return { outputAxis, inputAxis, scheme: { bits: 4, groupSize: null, range: 'absmax', ...scheme } };
}

function squaredError(weight: Float32Tensor, of: WeightAxes): number {
  const scales = weightScales(weight, of);
  const rounded = dequantizeCodes(roundToCodes(weight, scales, of), weight.dims, scales, of);
  return weight.data.reduce((sum, value, index) => sum + (value - (rounded.data[index] ?? 0)) ** 2, 0);
}

describe.each(LAYERS)('on the real weight %s', (name, outputAxis, inputAxis) => {
  const weight = weightOf(graph, name);

  test('the mse search has less squared error than absmax, per channel and per group', () => {
    for (const groupSize of [null, 64]) {
      const absmax = squaredError(weight, axes(outputAxis, inputAxis, { groupSize }));
      const mse = squaredError(weight, axes(outputAxis, inputAxis, { groupSize, range: 'mse' }));
      expect(mse).toBeLessThan(absmax);
    }
  });

  test('groups have less error than channels, small groups less than large ones, more bits less than few', () => {
    for (const range of ['absmax', 'mse'] as const) {
      const errors = [null, 64, 32].map((groupSize) =>
        squaredError(weight, axes(outputAxis, inputAxis, { groupSize, range })),
      );
      expect(errors[1]).toBeLessThan(errors[0] as number);
      expect(errors[2]).toBeLessThan(errors[1] as number);
    }
    const byBits = [2, 3, 4, 6, 8].map((bits) =>
      squaredError(weight, axes(outputAxis, inputAxis, { bits, range: 'mse' })),
    );
    expect(byBits).toEqual([...byBits].sort((a, b) => b - a));
  });

  test('scales are positive and shaped for DequantizeLinear', () => {
    const channel = weightScales(weight, axes(outputAxis, inputAxis));
    expect(channel.dims).toEqual([weight.dims[outputAxis]]);
    const grouped = weightScales(weight, axes(outputAxis, inputAxis, { groupSize: 32, range: 'mse' }));
    expect(grouped.dims).toEqual(weight.dims.map((dim, axis) => (axis === inputAxis ? dim / 32 : dim)));
    expect(grouped.data.every((scale) => scale > 0)).toBe(true);
  });

  test('no other scale of a fine search is much better than the chosen one', () => {
    const of = axes(outputAxis, inputAxis, { groupSize: 64, range: 'mse' });
    const best = squaredError(weight, of);
    const scales = weightScales(weight, of);
    /** The candidates are 1 % of absmax apart; between two of them nothing is won that counts. */
    const WORTH = 0.02;
    for (const factor of [0.85, 0.9, 0.95, 1.05, 1.1, 1.15]) {
      const other = float32(
        scales.dims,
        scales.data.map((scale) => scale * factor),
      );
      const rounded = dequantizeCodes(roundToCodes(weight, other, of), weight.dims, other, of);
      const error = weight.data.reduce((sum, value, index) => sum + (value - (rounded.data[index] ?? 0)) ** 2, 0);
      expect(error).toBeGreaterThan(best * (1 - WORTH));
    }
  });
});

describe('weightScales', () => {
  test('absmax is the symmetric scale of each output channel', () => {
    const weight = float32([2, 2, 1, 1], [0.5, -3, 0.25, 0]);
    expect(Array.from(weightScales(weight, axes(0, 1)).data)).toEqual([symmetricScale(3, 4), symmetricScale(0.25, 4)]);
  });

  test('a grouped convolution kernel has a scale per output channel, group and kernel position', () => {
    const dims = [2, 4, 3, 3];
    const of = axes(0, 1, { groupSize: 2 });
    expect(weightScaleDims(dims, of)).toEqual([2, 2, 3, 3]);
    const weight = float32(
      dims,
      Array.from({ length: 72 }, (_, index) => index + 1),
    );
    const scales = weightScales(weight, of);
    /** Output channel 1, group 1 (channels 2, 3), kernel position 5: the largest is element [1, 3, 1, 2]. */
    expect(scales.data[(1 * 2 + 1) * 9 + 5]).toBe(symmetricScale(1 + 36 + 27 + 5, 4));
  });

  test('all-zero channels round to zero codes', () => {
    const weight = float32([2, 3], [0, 0, 0, 1, 2, 3]);
    for (const range of ['absmax', 'mse'] as const) {
      const scales = weightScales(weight, axes(0, 1, { range }));
      expect(Array.from(roundToCodes(weight, scales, axes(0, 1)).slice(0, 3))).toEqual([0, 0, 0]);
    }
  });

  test('scaling a weight by a power of two scales its scales, and leaves its codes', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.float({ min: -8, max: 8, noNaN: true }).filter((x) => x === 0 || Math.abs(x) > 1e-3),
          { minLength: 12, maxLength: 12 },
        ),
        fc.integer({ min: -4, max: 8 }),
        (values, exponent) => {
          const of = axes(0, 1, { groupSize: 2, range: 'mse' });
          const weight = float32([3, 4], values);
          const scaled = float32(
            [3, 4],
            values.map((value) => value * 2 ** exponent),
          );
          const codes = roundToCodes(weight, weightScales(weight, of), of);
          expect(Array.from(roundToCodes(scaled, weightScales(scaled, of), of))).toEqual(Array.from(codes));
        },
      ),
    );
  });

  test('refuses groups that do not divide and weights that are not finite', () => {
    expect(() => weightScales(float32([2, 3], [1, 2, 3, 4, 5, 6]), axes(0, 1, { groupSize: 2 }))).toThrow(RangeError);
    expect(() => weightScales(float32([1, 2], [1, Number.NaN]), axes(0, 1))).toThrow(RangeError);
    expect(() => weightScales(float32([1, 2], [1, Number.NEGATIVE_INFINITY]), axes(0, 1))).toThrow(RangeError);
  });
});
