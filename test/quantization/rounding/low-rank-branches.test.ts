import { describe, expect, test } from 'vitest';
import { nuclearNorm, singularValues } from '../../../evaluation/linalg/singular-values.js';
import { type Matrix, multiplyTransposed, transpose, zeroMatrix } from '../../../models/linalg/matrix.js';
import { gaussianTensor } from '../../../models/tensors/random.js';
import { type Float32Tensor, float32 } from '../../../models/tensors/tensor.js';
import type { PlannedWeight } from '../../../quantization/layer-plan.js';
import { branchSpectrum, cutBranch } from '../../../quantization/rounding/low-rank-branches.js';
import { weightFromMatrix, weightMatrix } from '../../../quantization/rounding/weight-matrix.js';

/** Factors are rounded to float16: 2⁻¹¹ of each product's size, and errors count squared and summed. */
const HALF_ROUNDING = 2e-3;

function layoutOf(dims: readonly number[], outputAxis: number, inputAxis: number): PlannedWeight {
  const scheme = { bits: 4, groupSize: null, range: 'absmax' } as const;
  return { initializer: 'w', dims, outputAxis, inputAxis, bias: null, scheme };
}

function gaussianMatrix(stream: number, rows: number, cols: number): Matrix {
  return { rows, cols, data: Float64Array.from(gaussianTensor(11, stream, [rows, cols]).data) };
}

function gramOf(factor: Matrix): Matrix {
  return multiplyTransposed(factor, factor);
}

/** E[dᵀ G d] for d = (W − L) e by the sum over all pairs of channels and taps, straight from the definition. */
function remainingError(rest: Matrix, errors: Matrix, sensitivity: Matrix | null): number {
  let sum = 0;
  const channels = errors.rows;
  for (let row = 0; row < rest.rows; row += 1) {
    for (let other = 0; other < rest.rows; other += 1) {
      const cost = sensitivity === null ? Number(row === other) : (sensitivity.data[row * rest.rows + other] as number);
      if (cost === 0) continue;
      for (let tap = 0; tap < rest.cols; tap += channels) {
        for (let i = 0; i < channels; i += 1) {
          for (let j = 0; j < channels; j += 1) {
            sum +=
              cost *
              (rest.data[row * rest.cols + tap + i] as number) *
              (errors.data[i * channels + j] as number) *
              (rest.data[other * rest.cols + tap + j] as number);
          }
        }
      }
    }
  }
  return sum;
}

describe('the best branch of a rank', () => {
  const weight: Float32Tensor = gaussianTensor(11, 1, [12, 20]);
  const layout = layoutOf([12, 20], 0, 1);
  const identity = zeroMatrix(20, 20);
  for (let i = 0; i < 20; i += 1) identity.data[i * 21] = 1;

  test('with white errors is the truncated singular value decomposition', async () => {
    const { gains } = await branchSpectrum({ weight, layout, errors: identity, sensitivity: null });
    const values = singularValues(weightMatrix(weight, layout));
    values.forEach((value, i) => {
      // The ridge adds a ten-thousandth to every squared singular value.
      expect(Math.abs((gains[i] as number) / value ** 2 - 1)).toBeLessThan(2e-4);
    });
    expect(nuclearNorm(weightMatrix(weight, layout))).toBeGreaterThan(0);
  });

  test.each([
    ['more inputs than outputs', [12, 20]],
    ['more outputs than inputs', [20, 12]],
  ] as const)(
    'leaves the error that its spectrum promised, with correlated errors and weights per output (%s)',
    async (_, dims) => {
      const own = gaussianTensor(11, 2, dims);
      const plan = layoutOf(dims, 0, 1);
      const errors = gramOf(gaussianMatrix(3, dims[1], dims[1]));
      const sensitivity = gramOf(gaussianMatrix(4, dims[0], 2 * dims[0]));
      const spectrum = await branchSpectrum({ weight: own, layout: plan, errors, sensitivity });
      const total = remainingError(weightMatrix(own, plan), errors, sensitivity);
      for (const rank of [0, 1, 3, 7]) {
        const { rest } = await cutBranch(spectrum, rank, { opType: 'Gemm' }, plan);
        const promised = spectrum.gains.slice(rank).reduce((sum, gain) => sum + gain, 0);
        const left = remainingError(weightMatrix(rest, plan), errors, sensitivity);
        expect(Math.abs(left - promised) / total).toBeLessThan(HALF_ROUNDING);
      }
    },
  );

  test('no other branch of the rank leaves less: random ones and small changes of the best', async () => {
    const errors = gramOf(gaussianMatrix(5, 20, 20));
    const spectrum = await branchSpectrum({ weight, layout, errors, sensitivity: null });
    const { rest, branch } = await cutBranch(spectrum, 2, { opType: 'Gemm' }, layout);
    const best = remainingError(weightMatrix(rest, layout), errors, null);
    const whole = weightMatrix(weight, layout);
    const without = (up: Matrix, down: Matrix): number => {
      const product = multiplyTransposed(up, transpose(down));
      const left = { ...whole, data: whole.data.map((value, at) => value - (product.data[at] as number)) };
      return remainingError(left, errors, null);
    };
    const up = transpose({ rows: 2, cols: 12, data: Float64Array.from(branch.up.data) });
    const down = transpose({ rows: 20, cols: 2, data: Float64Array.from(branch.down.data) });
    expect(Math.abs(without(up, down) / best - 1)).toBeLessThan(HALF_ROUNDING);
    for (let round = 0; round < 10; round += 1) {
      const change = gaussianMatrix(100 + round, 2, 20);
      const moved = { ...down, data: down.data.map((value, at) => value + 0.1 * (change.data[at] as number)) };
      expect(without(up, moved)).toBeGreaterThan(best);
      expect(without(gaussianMatrix(200 + round, 12, 2), change)).toBeGreaterThan(best);
    }
  });

  test('a convolution: all taps of a channel share the errors, and up · down + rest is the weight', async () => {
    const kernel = gaussianTensor(11, 6, [6, 4, 3, 3]);
    const conv = layoutOf([6, 4, 3, 3], 0, 1);
    const errors = gramOf(gaussianMatrix(7, 4, 4));
    const spectrum = await branchSpectrum({ weight: kernel, layout: conv, errors, sensitivity: null });
    const { branch, rest } = await cutBranch(spectrum, 3, { opType: 'Conv' }, conv);
    expect(branch.down.dims).toEqual([3, 4, 3, 3]);
    expect(branch.up.dims).toEqual([6, 3, 1, 1]);
    let worst = 0;
    for (let output = 0; output < 6; output += 1) {
      for (let at = 0; at < 36; at += 1) {
        let sum = rest.data[output * 36 + at] as number;
        for (let r = 0; r < 3; r += 1) {
          sum += (branch.up.data[output * 3 + r] as number) * (branch.down.data[r * 36 + at] as number);
        }
        worst = Math.max(worst, Math.abs(sum - (kernel.data[output * 36 + at] as number)));
      }
    }
    // What is left was taken from the rounded factors: only float32 storage of the rest remains, 2⁻²⁴ of values ≤ 8.
    expect(worst).toBeLessThan(1e-6);
    const promised = spectrum.gains.slice(3).reduce((sum, gain) => sum + gain, 0);
    const total = spectrum.gains.reduce((sum, gain) => sum + gain, 0);
    expect(Math.abs(remainingError(weightMatrix(rest, conv), errors, null) - promised) / total).toBeLessThan(
      HALF_ROUNDING,
    );
  });

  test('channels without any error do not break it', async () => {
    const errors = zeroMatrix(20, 20);
    errors.data[0] = 1;
    const { gains } = await branchSpectrum({ weight, layout, errors, sensitivity: null });
    expect(gains.every(Number.isFinite)).toBe(true);
    expect((gains[1] as number) / (gains[0] as number)).toBeLessThan(1e-3);
  });
});

describe('weights as matrices', () => {
  test.each([
    [[3, 4, 2, 2], 0, 1],
    [[5, 7], 0, 1],
    [[5, 7], 1, 0],
  ] as const)('there and back for dims %j with outputs on axis %i', (dims, outputAxis, inputAxis) => {
    const weight = gaussianTensor(1, 1, dims);
    const layout = { dims, outputAxis, inputAxis };
    const back = weightFromMatrix(weightMatrix(weight, layout), layout);
    expect(Buffer.compare(Buffer.from(back.data.buffer), Buffer.from(weight.data.buffer))).toBe(0);
    expect(weightMatrix(weight, layout).data[1]).toBe(weight.data[dims.length > 2 ? 4 : inputAxis === 1 ? 1 : 7]);
  });

  test('a float32 tensor of the layout', async () => {
    const layout = { dims: [2, 3], outputAxis: 1, inputAxis: 0 };
    const matrix = weightMatrix(float32([2, 3], [1, 2, 3, 4, 5, 6]), layout);
    expect([...matrix.data]).toEqual([1, 4, 2, 5, 3, 6]);
  });
});
