import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { EngineExecutor } from '../../../activities/engine/engine-executor.js';
import { ExecutorHeldMatrices } from '../../../evaluation/linalg/executor-held-matrices.js';
import { type HeldMatrices, type HeldMatrix, heldMatrices, scoped } from '../../../evaluation/linalg/held-matrices.js';
import { inverseCholeskyFactor } from '../../../evaluation/linalg/inverse-cholesky.js';
import { plainProducts } from '../../../evaluation/linalg/matrix-products.js';
import { CUT_ROWS } from '../../../evaluation/linalg/symmetric-graphs.js';
import { frechetOfRows } from '../../../evaluation/metrics/frechet-metric.js';
import { pairwisePass } from '../../../evaluation/metrics/pairwise-pass.js';
import { precisionRecall } from '../../../evaluation/metrics/precision-recall.js';
import type { Executor, Resident } from '../../../models/executor.js';
import { withoutPause } from '../../../models/linalg/breathe.js';
import { type Matrix, zeroMatrix } from '../../../models/linalg/matrix.js';
import { gaussianTensor } from '../../../models/tensors/random.js';
import { metricContext, normalRows } from '../metrics/metric-context.js';

/** Sums of some hundred products of numbers around one, added up in another order. */
const ROUNDING = 1e-12;
/** Fréchet distances by plain loops and by the engine: a few hundred such sums in a row, relative to the variances. */
const FRECHET_ROUNDING = 1e-11;

function gaussian(rows: number, cols: number, seed: number): Matrix {
  return { rows, cols, data: Float64Array.from(gaussianTensor(seed, 0, [rows, cols]).data) };
}

function lowerTriangle(n: number, seed: number): Matrix {
  const full = gaussian(n, n, seed);
  return { ...full, data: full.data.map((value, at) => (at % n > Math.floor(at / n) ? 0 : value)) };
}

function positiveDefinite(n: number): Matrix {
  const noise = gaussian(n, n, 9);
  const result = zeroMatrix(n, n);
  for (let i = 0; i < n; i += 1) {
    for (let j = 0; j <= i; j += 1) {
      result.data[i * n + j] = i === j ? 4 * n : (noise.data[i * n + j] as number);
      result.data[j * n + i] = result.data[i * n + j] as number;
    }
  }
  return result;
}

function expectClose(actual: Matrix, expected: Matrix): void {
  expect([actual.rows, actual.cols]).toEqual([expected.rows, expected.cols]);
  const worst = actual.data.reduce(
    (most, value, i) => Math.max(most, Math.abs(value - (expected.data[i] as number))),
    0,
  );
  const size = expected.data.reduce((most, value) => Math.max(most, Math.abs(value)), 1);
  expect(worst).toBeLessThanOrEqual(ROUNDING * size);
}

/** What is resident in the executor, and the largest message. */
function watched(executor: Executor): { executor: Executor; residents: Set<number>; largest: () => number } {
  const residents = new Set<number>();
  let largest = 0;
  const see = (dims: readonly number[]): void => {
    largest = Math.max(largest, 8 * dims.reduce((product, dim) => product * dim, 1));
  };
  const noted = (resident: Resident): Resident => {
    residents.add(resident.resident);
    return resident;
  };
  return {
    residents,
    largest: () => largest,
    executor: {
      device: executor.device,
      upload: async (value) => {
        see(value.dims);
        return noted(await executor.upload(value));
      },
      download: (resident) => executor.download(resident),
      free: async (freed) => {
        for (const { resident } of freed) residents.delete(resident);
        await executor.free(freed);
      },
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
          runKeeping: async (feeds, outputs, keep) => {
            const result = await runnable.runKeeping(feeds, outputs, keep);
            for (const resident of Object.values(result.kept)) noted(resident);
            return result;
          },
          release: () => runnable.release(),
        };
      },
    },
  };
}

type Operation = (held: HeldMatrices, of: (matrix: Matrix) => Promise<HeldMatrix>) => Promise<HeldMatrix>;

const CUT = CUT_ROWS + 3;
const CENTRE = Float64Array.from({ length: CUT }, (_, j) => j / 7);
const ROWS = gaussianTensor(5, 0, [20, CUT]).data;

const OPERATIONS: readonly (readonly [string, Operation])[] = [
  ['a product', async (held, of) => held.product(await of(gaussian(70, 30, 1)), await of(gaussian(30, 50, 2)))],
  [
    'a product of turned matrices, taken from a share of another',
    async (held, of) => {
      const plus = await of(gaussian(70, 50, 3));
      const form = { turnA: true, turnB: true, minus: true, plus, factor: 0.3 };
      return held.product(await of(gaussian(30, 70, 1)), await of(gaussian(50, 30, 2)), form);
    },
  ],
  [
    'a product and another matrix',
    async (held, of) => {
      const plus = await of(gaussian(7, 5, 3));
      return held.product(await of(gaussian(7, 3, 1)), await of(gaussian(5, 3, 2)), { turnB: true, plus });
    },
  ],
  ['centred rows', async (held) => held.holdCentred(ROWS, CENTRE)],
  ['a small Gram matrix', async (held, of) => held.gram(await of(gaussian(11, 30, 1)))],
  ['a Gram matrix that is cut', async (held, of) => held.gram(await of(gaussian(CUT, 30, 1)))],
  ['a small triangle’s', async (held, of) => held.triangularGram(await of(lowerTriangle(9, 1)))],
  ['a triangle’s that is cut', async (held, of) => held.triangularGram(await of(lowerTriangle(CUT, 1)))],
  [
    'an added scatter',
    async (held, of) => {
      const few = gaussianTensor(6, 0, [8, 4]).data;
      return held.addedScatter(await of(gaussian(4, 4, 1)), few, CENTRE.slice(0, 4), Float64Array.of(1, -2, 3, 4));
    },
  ],
  [
    'an added scatter that is cut',
    async (held, of) => held.addedScatter(await of(gaussian(CUT, CUT, 1)), ROWS, CENTRE, CENTRE.map(Math.sin)),
  ],
  ['what is left of a matrix', async (held, of) => (await held.eliminated(...(await halved(of))))[1]],
  ['what is below', async (held, of) => (await held.eliminated(...(await halved(of))))[0]],
  [
    'joined triangles',
    async (held, of) =>
      held.joinedTriangles(await of(lowerTriangle(4, 1)), await of(gaussian(5, 4, 2)), await of(lowerTriangle(5, 3))),
  ],
  ['a turned matrix', async (held, of) => held.turned(await of(gaussian(5, 9, 1)))],
  ['a block', async (held, of) => held.block(await of(gaussian(9, 8, 1)), [2, 7], [3, 4])],
  ['picked rows', async (held, of) => held.pick(await of(gaussian(9, 8, 1)), 'rows', Uint32Array.of(8, 0, 3))],
  ['picked columns', async (held, of) => held.pick(await of(gaussian(9, 8, 1)), 'cols', Uint32Array.of(7, 7, 3))],
  ['a stack', async (held, of) => held.stack([await of(gaussian(2, 3, 1)), await of(gaussian(4, 3, 2))])],
];

async function halved(of: (matrix: Matrix) => Promise<HeldMatrix>): Promise<[HeldMatrix, HeldMatrix]> {
  return [await of(positiveDefinite(11)), await of(lowerTriangle(5, 2))];
}

describe('matrices that an executor holds', () => {
  let executor: EngineExecutor;
  beforeAll(async () => {
    executor = await EngineExecutor.start({ device: 'cpu', threads: 1 });
  });
  afterAll(() => executor?.close());

  test.each(OPERATIONS)('%s is what plain loops make of it', async (_name, operation) => {
    const held = new ExecutorHeldMatrices(executor);
    const plain = heldMatrices(plainProducts);
    const actual = await held.read(await operation(held, (matrix) => held.hold(matrix)));
    expectClose(actual, await plain.read(await operation(plain, (matrix) => plain.hold(matrix))));
    await held.release();
  });

  test('products that go straight to the caller, diagonals and blocks are those of held ones', async () => {
    const held = new ExecutorHeldMatrices(executor);
    const a = await held.hold(gaussian(6, 9, 1));
    const whole = await held.read(await held.product(a, a, { turnB: true }));
    expect(await held.readProduct(a, a, { turnB: true })).toEqual(whole);
    const square = await held.hold(whole);
    expect([...(await held.diagonal(square))]).toEqual(Array.from({ length: 6 }, (_, i) => whole.data[i * 7]));
    expect([...(await held.read(square, [2, 3], [1, 4])).data]).toEqual([...whole.data.subarray(13, 16)]);
    await held.release();
  });

  test('large matrices travel in messages of 32 MiB at most', async () => {
    const seen = watched(executor);
    const held = new ExecutorHeldMatrices(seen.executor);
    const wide = { rows: 3, cols: 2 ** 21 + 1, data: new Float64Array(3 * (2 ** 21 + 1)).map((_, i) => i) };
    const back = await held.read(await held.hold(wide));
    expect(Buffer.compare(Buffer.from(back.data.buffer), Buffer.from(wide.data.buffer))).toBe(0);
    expect(seen.largest()).toBeLessThanOrEqual(2 ** 25);
    await seen.executor.free([...seen.residents].map((resident) => ({ resident, type: 'float64', dims: [] })));
    await held.release();
  });

  test('what a scope made is let go but for its result, also when it fails', async () => {
    const seen = watched(executor);
    const held = new ExecutorHeldMatrices(seen.executor);
    const a = await held.hold(positiveDefinite(300));
    const factor = await inverseCholeskyFactor(a, held, withoutPause);
    expect(seen.residents.size).toBe(2);
    const failing = scoped(held, async (own) => {
      await own.product(await own.hold(gaussian(2, 2, 1)), await own.hold(gaussian(2, 2, 2)));
      throw new Error('no more');
    });
    await expect(failing).rejects.toThrow('no more');
    expect(seen.residents.size).toBe(2);
    await held.free(a, factor);
    expect(seen.residents.size).toBe(0);
    await held.release();
  });

  test('metrics leave nothing behind, and agree with plain loops', async () => {
    const seen = watched(executor);
    const held = new ExecutorHeldMatrices(seen.executor);
    const context = { ...metricContext(), products: { ...plainProducts, held } };
    for (const [n, m, d] of [
      [90, 70, 12],
      [9, 70, 12],
      [9, 7, 12],
    ] as const) {
      const [fake, real] = [normalRows(1, n, d, 0.2), normalRows(2, m, d)];
      const expected = await frechetOfRows(fake, real, metricContext());
      const actual = await frechetOfRows(fake, real, context);
      expect(Math.abs(actual.raw - expected.raw)).toBeLessThan(FRECHET_ROUNDING * d);
      expect(Math.abs(actual.standardError / expected.standardError - 1)).toBeLessThan(ROUNDING * 1e3);
      expect(seen.residents.size).toBe(0);
    }
    const [fake, real] = [normalRows(1, 60, 4), normalRows(2, 55, 4)];
    const counts = await pairwisePass([precisionRecall.consumer], fake, real, context, 8);
    expect(counts).toEqual(await pairwisePass([precisionRecall.consumer], fake, real, metricContext(), 60));
    expect(seen.residents.size).toBe(0);
    await held.release();
  });

  test('features without any variance are at the distance of their means', async () => {
    const held = new ExecutorHeldMatrices(executor);
    const context = { ...metricContext(), products: { ...plainProducts, held } };
    const flat = (value: number, n: number) => normalRows(1, n, 3, value, 0);
    expect((await frechetOfRows(flat(1, 9), flat(3, 8), context)).value).toBeCloseTo(12, 12);
    expect((await frechetOfRows(flat(1, 9), normalRows(2, 50, 3), context)).value).toBeGreaterThan(0);
    await held.release();
  });
});
