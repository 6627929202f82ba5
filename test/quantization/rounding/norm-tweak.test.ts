import { describe, expect, test } from 'vitest';
import { type Matrix, multiplyTransposed, transpose } from '../../../models/linalg/matrix.js';
import { gaussianTensor } from '../../../models/tensors/random.js';
import { normTweak } from '../../../quantization/rounding/norm-tweak.js';

const CHANNELS = 6;
const SAMPLES = 40;
/** Float64 sums of a few hundred terms and a solve of six unknowns. */
const TOLERANCE = 1e-9;

function gaussian(stream: number, rows: number, cols: number): Matrix {
  return { rows, cols, data: Float64Array.from(gaussianTensor(9, stream, [rows, cols]).data) };
}

const samples = gaussian(1, SAMPLES, CHANNELS);
const inputs = ((gram: Matrix) => ({ ...gram, data: gram.data.map((value) => value / SAMPLES) }))(
  multiplyTransposed(transpose(samples), transpose(samples)),
);
const layers = [5, 9].map((outputs, index) => {
  const float = gaussian(10 + index, outputs, CHANNELS);
  const noise = gaussian(20 + index, outputs, CHANNELS);
  return {
    float,
    quantized: { ...float, data: float.data.map((value, at) => 0.8 * value + 0.3 * (noise.data[at] ?? 0)) },
  };
});

/** Σ_l mean|W x − Q (s ∘ x)|² over the samples, straight from the definition. */
function loss(s: Float64Array): number {
  let sum = 0;
  for (const { float, quantized } of layers) {
    for (let n = 0; n < SAMPLES; n += 1) {
      for (let row = 0; row < float.rows; row += 1) {
        let error = 0;
        for (let c = 0; c < CHANNELS; c += 1) {
          const x = samples.data[n * CHANNELS + c] as number;
          const at = row * CHANNELS + c;
          error += (float.data[at] as number) * x - (quantized.data[at] as number) * (s[c] as number) * x;
        }
        sum += (error * error) / SAMPLES;
      }
    }
  }
  return sum;
}

/** The ridge of the solution: 0.01 · mean over c of X_cc Σ Q². */
function ridge(): number {
  let trace = 0;
  for (let c = 0; c < CHANNELS; c += 1) {
    let energy = 0;
    for (const { quantized } of layers) {
      for (let row = 0; row < quantized.rows; row += 1) energy += (quantized.data[row * CHANNELS + c] as number) ** 2;
    }
    trace += energy * (inputs.data[c * (CHANNELS + 1)] as number);
  }
  return (0.01 * trace) / CHANNELS;
}

const found = await normTweak({ inputs, layers });

describe('norm tweaking', () => {
  const penalized = (s: Float64Array): number =>
    loss(s) + ridge() * s.reduce((sum, value) => sum + (value - 1) ** 2, 0);

  test('is the least-squares solution: the penalized loss has no slope there', async () => {
    for (let c = 0; c < CHANNELS; c += 1) {
      const moved = (by: number): number => penalized(found.map((value, at) => (at === c ? value + by : value)));
      // A quadratic: the central difference is its exact slope up to rounding.
      expect(Math.abs((moved(0.5) - moved(-0.5)) / penalized(found))).toBeLessThan(TOLERANCE);
      expect(moved(0.01)).toBeGreaterThan(penalized(found));
    }
  });

  test('never leaves more error than no tweak, and here much less', async () => {
    const before = loss(new Float64Array(CHANNELS).fill(1));
    expect(loss(found)).toBeLessThan(before);
    expect(penalized(found)).toBeLessThan(before);
  });

  test('a convolution sums over its taps; an unquantized layer and a dead value keep factors of 1', async () => {
    const one = layers[0] as (typeof layers)[number];
    const twice = (matrix: Matrix): Matrix => ({
      ...{ rows: 1, cols: matrix.data.length },
      data: matrix.data,
    });
    const asTaps = await normTweak({ inputs, layers: [{ float: twice(one.float), quantized: twice(one.quantized) }] });
    const asRows = await normTweak({ inputs, layers: [one] });
    asTaps.forEach((value, c) => {
      expect(Math.abs(value - (asRows[c] as number))).toBeLessThan(TOLERANCE);
    });
    const same = await normTweak({ inputs, layers: [{ float: one.float, quantized: one.float }] });
    expect(Math.max(...same.map((value) => Math.abs(value - 1)))).toBeLessThan(TOLERANCE);
    const dead = { ...inputs, data: new Float64Array(CHANNELS ** 2) };
    expect([...(await normTweak({ inputs: dead, layers }))]).toEqual(new Array(CHANNELS).fill(1));
  });
});
