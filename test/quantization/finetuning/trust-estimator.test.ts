import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EngineExecutor } from '../../../activities/engine/engine-executor.js';
import { gaussianTensor } from '../../../models/tensors/random.js';
import { type Float32Tensor, float32 } from '../../../models/tensors/tensor.js';
import { trainableName } from '../../../quantization/conversion/lower-to-float.js';
import { gaussianLimit, trustRadius } from '../../../quantization/finetuning/trust-estimator.js';
import type { ActivationScheme, WeightScheme } from '../../../quantization/layer-plan.js';
import { maxAbs, maxAbsDifference } from '../../models/autodiff/train-graph.js';
import { referenceQuantized, SCHEME } from '../conversion/lowered-quantizer.js';
import {
  type HeldWeight,
  HIDDEN,
  heldWeight,
  IN,
  product,
  ROWS,
  slopeOf,
  trainingGradients,
  transposed,
  twoLayerPlan,
  twoLayers,
} from './two-layers.js';

/** Float32 sums of some tens of products; the reference is in doubles. */
const TOLERANCE = 1e-5;

let executor: EngineExecutor;
beforeAll(async () => {
  executor = await EngineExecutor.start({ device: 'cpu', threads: 1 });
});
afterAll(() => executor.close());

describe('the best mid-rise grid for N(0, 1)', () => {
  /** The tail beyond weighs 1e-15. */
  const REACH = 8;
  /** Midpoint rule inside each cell of the grid, where the integrand is smooth: its own error moves the best limit by 1e-5. */
  const POINTS = 200;
  const SPACING = 1e-4;
  /** The finest spacing of the search, and the digits of the table. */
  const TOLERANCE_OF_LIMIT = 2e-4;

  /** E(x − q(x))² for levels ±d/2, ±3d/2, … ±limit. */
  function squaredError(limit: number, bits: number): number {
    const cells = 2 ** (bits - 1);
    const step = (2 * limit) / (2 ** bits - 1);
    let sum = 0;
    for (let cell = 0; cell < cells; cell += 1) {
      const width = ((cell + 1 === cells ? REACH : (cell + 1) * step) - cell * step) / POINTS;
      for (let index = 0; index < POINTS; index += 1) {
        const x = cell * step + (index + 0.5) * width;
        sum += width * (x - (cell + 0.5) * step) ** 2 * Math.exp((-x * x) / 2);
      }
    }
    return (2 * sum) / Math.sqrt(2 * Math.PI);
  }

  /** The limit with the least error: a grid over [1, 5], then ever finer ones around the best. */
  function bestLimit(bits: number): number {
    let best = 3;
    for (let width = 2; width > SPACING; width /= 5) {
      const candidates = Array.from({ length: 21 }, (_, index) => best + ((index - 10) / 10) * width);
      const errors = candidates.map((limit) => squaredError(limit, bits));
      best = candidates[errors.indexOf(Math.min(...errors))] ?? best;
    }
    return best;
  }

  for (const bits of [2, 3, 4, 5, 6, 7, 8]) {
    it(`of ${bits} bits ends where the table says`, () => {
      expect(Math.abs(bestLimit(bits) - gaussianLimit(bits))).toBeLessThan(TOLERANCE_OF_LIMIT);
    });
  }

  it("agrees with the authors' constants, and is half a step wide in trust", () => {
    const published = [1.494, 2.051, 2.514];
    published.forEach((limit, index) => {
      expect(gaussianLimit(index + 2)).toBeCloseTo(limit, 3);
    });
    expect(trustRadius(4)).toBeCloseTo(2.514 / 15, 4);
    expect(() => gaussianLimit(9)).toThrow(RangeError);
  });
});

/** Whether each value is trusted: its error against the spread of the members that share its scale. */
function trusted(
  values: ArrayLike<number>,
  quantized: ArrayLike<number>,
  bits: number,
  factor: number,
  sharesScale: (a: number, b: number) => boolean,
): boolean[] {
  return Array.from(values, (value, at) => {
    const members = Array.from(values).filter((_, other) => sharesScale(at, other));
    const spread = Math.sqrt(members.reduce((sum, one) => sum + one * one, 0) / members.length);
    return Math.abs((quantized[at] ?? 0) - value) <= factor * trustRadius(bits) * spread;
  });
}

function masked(value: Float32Tensor, mask: readonly boolean[]): Float32Tensor {
  return float32(
    value.dims,
    value.data.map((one, at) => (mask[at] ? one : 0)),
  );
}

/** Trusts most values and not all. */
const FACTOR = 0.5;
/** A scale that clips some values and leaves most of them on the grid. */
const STATIC_SCALE = 0.75;
const ZERO_POINT = 8;

const weights = [gaussianTensor(1, 0, [IN, HIDDEN]), gaussianTensor(1, 1, [HIDDEN, IN])] as const;
const x = gaussianTensor(2, 0, [ROWS, IN]);
const target = gaussianTensor(3, 0, [ROWS, IN]);

for (const ranges of ['static', 'dynamic'] as const) {
  for (const groupSize of [null, 4]) {
    describe(`trust gradients, ${ranges} range, weights in ${groupSize === null ? 'channels' : 'groups'}`, () => {
      const weightScheme: WeightScheme = { bits: 4, groupSize, range: 'absmax' };
      const scheme: ActivationScheme = { ...SCHEME, ranges };
      const table = { scale: float32([1], [STATIC_SCALE]), zeroPoint: float32([1], [ZERO_POINT]) };
      const held = weights.map((weight) => heldWeight(weight, weightScheme)) as [HeldWeight, HeldWeight];
      const [first, second] = held;
      const hidden = product(x, first.value);
      const quantizer = {
        dims: hidden.dims,
        channelAxis: 1,
        scheme,
        ...(ranges === 'static' ? { parameters: table } : {}),
      };
      const quantized = float32(hidden.dims, referenceQuantized(quantizer, hidden).values);
      const byQuantized = product(slopeOf(product(quantized, second.value), target), transposed(second.value));

      async function gradients(): Promise<Map<string, Float32Array>> {
        const parameters = {
          timesteps: [],
          branches: new Map(),
          weights: new Map(held.map((one, index) => [index === 0 ? 'first' : 'second', { ...one, bias: null }])),
          activations: new Map(ranges === 'static' ? [['q0', table]] : []),
        };
        const plan = twoLayerPlan(scheme, weightScheme);
        const layers = { graph: twoLayers(weights), plan, parameters, trustFactor: FACTOR };
        return trainingGradients(executor, layers, { x, target });
      }

      it('by weights pass where both roundings are trusted, and nowhere else', async () => {
        const row = (at: number): number => Math.floor(at / HIDDEN);
        const trustsHidden = trusted(hidden.data, quantized.data, 4, FACTOR, (a, b) => row(a) === row(b));
        expect(new Set(trustsHidden).size).toBe(2);
        const byWeight = product(transposed(x), masked(byQuantized, trustsHidden));
        const size = groupSize ?? IN;
        const scaleOf = (at: number): number =>
          first.scales.data[groupSize === null ? at % HIDDEN : Math.floor(row(at) / size) * HIDDEN + (at % HIDDEN)] ??
          0;
        const codes = first.weight.data.map((value, at) => value / scaleOf(at));
        const whole = first.value.data.map((value, at) => value / scaleOf(at));
        const sharesScale = (a: number, b: number): boolean =>
          a % HIDDEN === b % HIDDEN && Math.floor(row(a) / size) === Math.floor(row(b) / size);
        const trustsWeight = trusted(codes, whole, 4, FACTOR, sharesScale);
        expect(new Set(trustsWeight).size).toBe(2);
        const expected = masked(byWeight, trustsWeight).data.map((value, at) => value * scaleOf(at));
        const gradient = (await gradients()).get(trainableName.weight('first')) ?? [];
        expect(maxAbsDifference(gradient, expected)).toBeLessThanOrEqual(TOLERANCE * maxAbs(expected));
      });

      if (ranges === 'static') {
        it("by the range are LSQ's, trusted or not", async () => {
          const [low, high] = [-ZERO_POINT, 15 - ZERO_POINT];
          const expected = hidden.data.reduce((sum, value, at) => {
            const steps = value / STATIC_SCALE;
            const code = (quantized.data[at] ?? 0) / STATIC_SCALE;
            const slope = steps < low ? low : steps > high ? high : code - steps;
            return sum + (byQuantized.data[at] ?? 0) * slope * STATIC_SCALE;
          }, 0);
          const gradient = (await gradients()).get(trainableName.range('q0'))?.[0] ?? Number.NaN;
          expect(Math.abs(gradient - expected)).toBeLessThanOrEqual(TOLERANCE * Math.abs(expected));
        });
      }
    });
  }
}
