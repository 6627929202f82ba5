import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { EngineExecutor } from '../../../activities/engine/engine-executor.js';
import { type ExecutorProducts, executorProducts } from '../../../evaluation/linalg/executor-products.js';
import type { Executor } from '../../../models/executor.js';
import { type Matrix, multiplyTransposed } from '../../../models/linalg/matrix.js';
import { gaussianTensor } from '../../../models/tensors/random.js';

function gaussian(rows: number, cols: number, seed: number, offset = 0): Matrix {
  const { data } = gaussianTensor(seed, 0, [rows, cols]);
  return { rows, cols, data: Float64Array.from(data, (value) => value + offset) };
}

function magnitudes({ rows, cols, data }: Matrix): Matrix {
  return { rows, cols, data: data.map(Math.abs) };
}

/**
 * Largest |difference| in units of the bound: both results are sums of k products in some order, so they differ from the exact
 * value by at most k·ε/2/(1 − k·ε/2) · Σ|a·b| each (unit roundoff ε/2), and from each other by twice that.
 */
function errorInBounds(actual: Matrix, a: Matrix, b: Matrix): number {
  const expected = multiplyTransposed(a, b);
  const sizes = multiplyTransposed(magnitudes(a), magnitudes(b));
  const unit = (a.cols * Number.EPSILON) / 2;
  const share = (2 * unit) / (1 - unit);
  return expected.data.reduce((worst, value, i) => {
    const bound = share * (sizes.data[i] as number);
    const error = Math.abs(value - (actual.data[i] as number));
    return Math.max(worst, bound === 0 ? error : error / bound);
  }, 0);
}

const bytes = ({ data }: Matrix): Uint8Array => new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
const sameBits = (a: Matrix, b: Matrix): boolean => Buffer.compare(bytes(a), bytes(b)) === 0;

/** Bytes of the largest tensor that crosses to the executor or back. */
function measuredExecutor(executor: Executor): { executor: Executor; largest: () => number } {
  let largest = 0;
  const see = (dims: readonly number[]): void => {
    largest = Math.max(largest, 8 * dims.reduce((product, dim) => product * dim, 1));
  };
  return {
    largest: () => largest,
    executor: {
      device: executor.device,
      upload: (value) => {
        see(value.dims);
        return executor.upload(value);
      },
      download: (resident) => executor.download(resident),
      free: (residents) => executor.free(residents),
      open: async (model, options) => {
        const runnable = await executor.open(model, options);
        return {
          inputNames: runnable.inputNames,
          outputNames: runnable.outputNames,
          run: async (feeds, outputs) => {
            const result = await runnable.run(feeds, outputs);
            for (const value of Object.values(result)) see(value.dims);
            return result;
          },
          runKeeping: (feeds, outputs, keep) => runnable.runKeeping(feeds, outputs, keep),
          release: () => runnable.release(),
        };
      },
    },
  };
}

describe('executorProducts', () => {
  let executor: EngineExecutor;
  let products: ExecutorProducts;
  beforeAll(async () => {
    executor = await EngineExecutor.start({ device: 'cpu', threads: 1 });
    products = executorProducts(executor);
  });
  afterAll(async () => {
    await products?.release();
    await executor?.close();
  });

  test.each([
    [1, 1, 1],
    [3, 5, 7],
    [130, 40, 257],
    [600, 700, 33],
  ])('[%i, k] by [%i, k], k = %i, are within the bound of plain sums', async (m, n, k) => {
    const a = gaussian(m, k, 1, 3);
    const b = gaussian(n, k, 2, -2);
    const result = await products.timesTransposed(a, b);
    expect([result.rows, result.cols]).toEqual([m, n]);
    expect(errorInBounds(result, a, b)).toBeLessThanOrEqual(1);
  });

  test('a matrix with itself takes the symmetric way: within the bound and symmetric to the bit, across tiles', async () => {
    const a = gaussian(1100, 48, 5, 1);
    const result = await products.timesTransposed(a, a);
    expect(errorInBounds(result, a, a)).toBeLessThanOrEqual(1);
    let asymmetric = 0;
    for (let i = 0; i < a.rows; i += 1) {
      for (let j = 0; j < i; j += 1) if (result.data[i * a.rows + j] !== result.data[j * a.rows + i]) asymmetric += 1;
    }
    expect(asymmetric).toBe(0);
  });

  test('are float64: what float32 would lose is there', async () => {
    const a = { rows: 1, cols: 2, data: Float64Array.of(1, 2 ** -40) };
    const ones = { rows: 1, cols: 2, data: Float64Array.of(1, 1) };
    expect((await products.timesTransposed(a, ones)).data[0]).toBe(1 + 2 ** -40);
  });

  test('give the same bits again, and no message is above 64 MiB', async () => {
    const measured = measuredExecutor(executor);
    const own = executorProducts(measured.executor);
    const a = gaussian(2200, 2100, 7);
    const b = gaussian(2060, 2100, 8);
    const first = await own.timesTransposed(a, b);
    expect(sameBits(first, await own.timesTransposed(a, b))).toBe(true);
    expect(measured.largest()).toBeLessThanOrEqual(64 * 2 ** 20);
    expect(measured.largest()).toBeGreaterThan(8 * 2 ** 20);
    await own.release();
  });

  test('long inner dimensions are added slice by slice', async () => {
    const k = 2 ** 22 + 3;
    const a = { rows: 2, cols: k, data: new Float64Array(2 * k).fill(1) };
    a.data[k - 1] = 5;
    const b = { rows: 1, cols: k, data: new Float64Array(k).fill(2) };
    expect(Array.from((await products.timesTransposed(a, b)).data)).toEqual([2 * (k + 4), 2 * k]);
    expect(Array.from((await products.timesTransposed(b, b)).data)).toEqual([4 * k]);
  });

  test('refuses other inner sizes, and is released twice without harm', async () => {
    const own = executorProducts(executor);
    await expect(own.timesTransposed(gaussian(2, 3, 1), gaussian(2, 4, 1))).rejects.toThrow(/inner sizes/);
    expect((await own.timesTransposed({ rows: 0, cols: 3, data: new Float64Array() }, gaussian(2, 3, 1))).rows).toBe(0);
    await own.timesTransposed(gaussian(2, 3, 1), gaussian(2, 3, 2));
    await own.release();
    await own.release();
  });
});
