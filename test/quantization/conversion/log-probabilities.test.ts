import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EngineExecutor } from '../../../activities/engine/engine-executor.js';
import { gaussianTensor } from '../../../models/tensors/random.js';
import { type Float32Tensor, float32 } from '../../../models/tensors/tensor.js';
import { LOG_GRIDS, type LogGridName } from '../../../quantization/formats/log-grid.js';
import type { ActivationScheme } from '../../../quantization/layer-plan.js';
import { maxAbsDifference } from '../../models/autodiff/train-graph.js';
import { type LoweringName, quantizerModel, runQuantizer, SCHEME } from './lowered-quantizer.js';
import { runStock } from './stock-onnxruntime.js';

/**
 * Probabilities in powers of two. Codes and values against the formula in doubles; the two lowerings, with and without
 * optimisations and in a stock onnxruntime, against each other: those agree bit for bit.
 */

/** Float32 logarithms are off by some 1e-7 of values up to 20: only this near to a tie may a code be the other one. */
const NEAR_TIE = 1e-4;
/** The float32 power and the float32 product. */
const VALUE_TOLERANCE = 2 ** -22;

const DIMS = [6, 5, 9];
const AXIS = 2;

let executor: EngineExecutor;
beforeAll(async () => {
  executor = await EngineExecutor.start({ device: 'cpu', threads: 1 });
});
afterAll(() => executor.close());

/** Rows that sum to 1; the first of nine tokens has most of it, as the start token of a text does. */
function probabilities(seed: number): Float32Tensor {
  const logits = gaussianTensor(seed, 0, DIMS).data.map((value, at) => 2.5 * value + (at % 9 === 0 ? 7 : 0));
  const result = new Float32Array(logits.length);
  for (let row = 0; row < logits.length / 9; row += 1) {
    const powers = Array.from(logits.subarray(row * 9, row * 9 + 9), Math.exp);
    const sum = powers.reduce((total, power) => total + power, 0);
    result.set(
      powers.map((power) => power / sum),
      row * 9,
    );
  }
  return float32(DIMS, result);
}

/** u / step, code and p̂ of every element that is quantized, in doubles; null for those that stay float. */
function reference(x: Float32Tensor, grid: LogGridName, bits: number, isFirstFloat: boolean) {
  const size = (x.dims[1] ?? 0) * (x.dims[2] ?? 0);
  const isFloat = (at: number): boolean => isFirstFloat && at % 9 === 0;
  return Array.from(x.data, (p, at) => {
    if (isFloat(at)) return null;
    const from = Math.floor(at / size) * size;
    const row = Array.from(x.data.subarray(from, from + size)).filter((_, index) => !isFloat(from + index));
    const largest = Math.max(...row);
    const exact = -Math.log2(p / largest) / LOG_GRIDS[grid].step;
    const code = Math.min(2 ** bits - 1, Math.max(0, Math.round(exact)));
    return { exact, code, value: largest * 2 ** (-code * LOG_GRIDS[grid].step) };
  });
}

async function everyWay(scheme: ActivationScheme, x: Float32Tensor): Promise<Map<string, Float32Array>> {
  const one = { dims: DIMS, channelAxis: AXIS, scheme, rows: 'other' as const };
  const found = new Map<string, Float32Array>();
  for (const lowering of ['qdq', 'float'] as const) {
    for (const optimization of ['disabled', 'all'] as const) {
      const { values } = await runQuantizer(executor, one, x, { lowering, optimization });
      found.set(`${lowering}, ${optimization}`, values);
    }
    const stock = await runStock(quantizerModel(one, lowering), { x, t: float32([1], [0]) }, 'default');
    found.set(`${lowering}, stock`, stock['out.values']?.data as Float32Array);
  }
  return found;
}

for (const grid of ['log2', 'log-sqrt2'] as const) {
  for (const isFirstFloat of [false, true]) {
    describe(`${grid}${isFirstFloat ? ', first token float' : ''}`, () => {
      for (const bits of [2, 3, 4, 6, 8]) {
        it(`has the codes of the formula in ${bits} bits, the same everywhere`, async () => {
          const x = probabilities(bits);
          const scheme = { ...SCHEME, bits, grid, ...(isFirstFloat ? { floatFirst: AXIS } : {}) };
          const expected = reference(x, grid, bits, isFirstFloat);
          const ways = await everyWay(scheme, x);
          const [qdq = new Float32Array(0)] = ways.values();
          for (const [way, values] of ways) {
            expect({ way, apart: maxAbsDifference(values, qdq) }).toEqual({ way, apart: 0 });
          }
          let compared = 0;
          for (const [at, one] of expected.entries()) {
            const found = qdq[at] ?? Number.NaN;
            if (one === null) {
              expect(found).toBe(x.data[at]);
              continue;
            }
            if (Math.abs((one.exact % 1) - 0.5) < NEAR_TIE) continue;
            compared += 1;
            expect(Math.abs(found - one.value)).toBeLessThanOrEqual(VALUE_TOLERANCE * one.value);
          }
          expect(compared).toBeGreaterThan(200);
        });
      }
    });
  }
}

describe('logarithmic probabilities', () => {
  const scheme = { ...SCHEME, grid: 'log2' as const };

  it('give zero the last code and the largest value itself, powers exactly', async () => {
    const data = new Float32Array(32).map((_, index) => (index === 31 ? 0 : 0.375 * 2 ** -index));
    const x = float32([1, 1, 32], data);
    const last = 0.375 * 2 ** -15;
    for (const lowering of ['qdq', 'float'] as LoweringName[]) {
      const { codes, values } = await runQuantizer(executor, { dims: x.dims, channelAxis: 2, scheme }, x, { lowering });
      expect([...codes]).toEqual(Array.from({ length: 32 }, (_, index) => Math.min(15, index)));
      expect([...values]).toEqual(Array.from(data, (value) => Math.max(value, last)));
    }
  });

  it('scale every row by its own largest value, so that a batch changes nothing', async () => {
    const x = probabilities(3);
    const size = 45;
    const together = await runQuantizer(executor, { dims: DIMS, channelAxis: AXIS, scheme }, x);
    for (let row = 0; row < 6; row += 1) {
      const alone = float32([1, 5, 9], x.data.slice(row * size, (row + 1) * size));
      const { values } = await runQuantizer(executor, { dims: alone.dims, channelAxis: AXIS, scheme }, alone);
      expect(maxAbsDifference(values, together.values.slice(row * size, (row + 1) * size))).toBe(0);
    }
  });
});

describe('a float first token', () => {
  it('leaves the range of the others to the others', async () => {
    const x = float32(
      [2, 4, 5],
      gaussianTensor(5, 0, [2, 4, 5]).data.map((value, at) => (at % 5 === 0 ? 100 * value : value)),
    );
    const rest = float32(
      [2, 4, 4],
      Float32Array.from(x.data).filter((_, at) => at % 5 !== 0),
    );
    const alone = await runQuantizer(executor, { dims: rest.dims, channelAxis: 1, scheme: SCHEME }, rest);
    for (const lowering of ['qdq', 'float'] as LoweringName[]) {
      const one = { dims: x.dims, channelAxis: 1, scheme: { ...SCHEME, floatFirst: 2 } };
      const { values } = await runQuantizer(executor, one, x, { lowering });
      expect(values.filter((_, at) => at % 5 === 0)).toEqual(x.data.filter((_, at) => at % 5 === 0));
      expect(
        maxAbsDifference(
          values.filter((_, at) => at % 5 !== 0),
          alone.values,
        ),
      ).toBe(0);
    }
  });
});
