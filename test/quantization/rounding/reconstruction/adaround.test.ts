import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EngineExecutor } from '../../../../activities/engine/engine-executor.js';
import { buildBackward } from '../../../../models/autodiff/build-backward.js';
import { Graph } from '../../../../models/onnx/graph.js';
import { writeModel } from '../../../../models/onnx/model-proto.js';
import { NodeEmitter } from '../../../../models/onnx/node-emitter.js';
import { inferShapes } from '../../../../models/onnx/shape-inference.js';
import { gaussianTensor } from '../../../../models/tensors/random.js';
import { float32 } from '../../../../models/tensors/tensor.js';
import type { PlannedWeight } from '../../../../quantization/layer-plan.js';
import type { WeightParameters } from '../../../../quantization/quantized-parameters.js';
import {
  alphaOf,
  emitPenalty,
  emitRectifiedSigmoid,
  emitSoftWeight,
  hardWeight,
  roundingStart,
} from '../../../../quantization/rounding/reconstruction/adaround.js';
import { penaltyAt } from '../../../../quantization/rounding/reconstruction/block-run.js';
import { roundToCodes } from '../../../../quantization/rounding/round-nearest.js';
import { weightScales } from '../../../../quantization/rounding/weight-scales.js';

/** A few float32 operations on numbers around 1. */
const TOLERANCE = 2e-6;
/** Gradients of |2h − 1|^20 pass through powers and products of float32 numbers: relative to the largest one. */
const GRADIENT_TOLERANCE = 1e-5;

const WEIGHT: PlannedWeight = {
  initializer: 'w',
  dims: [6, 32],
  outputAxis: 0,
  inputAxis: 1,
  bias: null,
  scheme: { bits: 4, groupSize: 16, range: 'mse' },
};
const weight = gaussianTensor(5, 1, WEIGHT.dims);
const held: WeightParameters = { weight, scales: weightScales(weight, WEIGHT), bias: null };

let executor: EngineExecutor;
beforeAll(async () => {
  executor = await EngineExecutor.start({ device: 'cpu', threads: 1 });
});
afterAll(() => executor.close());

/** The formulas in doubles, written down a second time. */
const sigma = (a: number): number => 1 / (1 + Math.exp(-a));
const h = (a: number): number => Math.min(1, Math.max(0, 1.2 * sigma(a) - 0.1));
const slopeOfH = (a: number): number => (h(a) > 0 && h(a) < 1 ? 1.2 * sigma(a) * (1 - sigma(a)) : 0);
const penalty = (value: number, beta: number): number => 1 - Math.abs(2 * value - 1) ** beta;
const slopeOfPenalty = (value: number, beta: number): number =>
  -2 * beta * Math.sign(2 * value - 1) * Math.abs(2 * value - 1) ** (beta - 1);

/** Penalty and its gradient by a, for every element, as the training graph computes them. */
async function penaltyOf(alpha: readonly number[], beta: number): Promise<{ value: number; gradient: number[] }> {
  const graph = new Graph();
  graph.inputs = [
    { name: 'alpha', type: 'float32', shape: [alpha.length] },
    { name: 'beta', type: 'float32', shape: [] },
  ];
  const emitter = new NodeEmitter(graph, 'test');
  const total = emitPenalty(emitRectifiedSigmoid('alpha', emitter), 'beta', emitter);
  const gradient = buildBackward(graph, inferShapes(graph), { loss: total, wrt: ['alpha'] }).get('alpha') ?? '';
  graph.outputs = [
    { name: total, type: 'float32', shape: [] },
    { name: gradient, type: 'float32', shape: [alpha.length] },
  ];
  const runnable = await executor.open(writeModel(graph));
  const found = await runnable.run({ alpha: float32([alpha.length], alpha), beta: float32([], [beta]) });
  await runnable.release();
  return { value: Number(found[total]?.data[0]), gradient: Array.from(found[gradient]?.data ?? [], Number) };
}

describe('the rectified sigmoid', () => {
  it('starts where it gives the fraction back, and reaches 0 and 1', () => {
    for (const fraction of [0, 0.1, 0.25, 0.5, 0.75, 0.999]) expect(h(alphaOf(fraction))).toBeCloseTo(fraction, 12);
    expect(alphaOf(0.5)).toBeCloseTo(0, 12);
    expect([h(-3), h(3)]).toEqual([0, 1]);
  });

  it('makes the weight it started from, as far as that is on the grid', async () => {
    const start = roundingStart(held, WEIGHT);
    const graph = new Graph();
    graph.inputs = [{ name: 'alpha', type: 'float32', shape: [...WEIGHT.dims] }];
    const emitter = new NodeEmitter(graph, 'test');
    const soft = emitSoftWeight(emitRectifiedSigmoid('alpha', emitter), start, 4, emitter);
    graph.outputs = [{ name: soft, type: 'float32', shape: [...WEIGHT.dims] }];
    const runnable = await executor.open(writeModel(graph));
    const made = (await runnable.run({ alpha: start.alpha }))[soft]?.data ?? [];
    await runnable.release();
    let clipped = 0;
    weight.data.forEach((value, index) => {
      const scale = start.scales.data[index] as number;
      const kept = Math.min(7, Math.max(-8, value / scale));
      if (kept !== value / scale) clipped += 1;
      expect(Math.abs(Number(made[index]) - kept * scale), `element ${index}`).toBeLessThan(TOLERANCE);
    });
    expect(clipped).toBeGreaterThan(0);
  });
});

describe('the rounding penalty', () => {
  const alpha = [-4, -2, -1, -0.3, -0.05, 0.02, 0.4, 1.1, 2.2, 5];

  it.each([20, 8, 2])('and its gradient are what the formula says at β = %d', async (beta) => {
    const { value, gradient } = await penaltyOf(alpha, beta);
    const expected = alpha.reduce((sum, a) => sum + penalty(h(a), beta), 0);
    expect(Math.abs(value - expected)).toBeLessThan(TOLERANCE * alpha.length);
    const wanted = alpha.map((a) => slopeOfPenalty(h(a), beta) * slopeOfH(a));
    const largest = Math.max(...wanted.map(Math.abs));
    gradient.forEach((found, index) => {
      expect(Math.abs(found - (wanted[index] ?? 0)) / largest, `a = ${alpha[index]}`).toBeLessThan(GRADIENT_TOLERANCE);
    });
  });

  it('has a gradient that central differences of its value confirm', async () => {
    // Float32 sums near 10 with a step of 1/64: rounding gives 1e-6 · 64, the third derivative (β ≤ 8, |slope of h| < 0.31) the rest.
    const [step, tolerance] = [1 / 64, 0.01];
    for (const beta of [8, 2]) {
      const { gradient } = await penaltyOf(alpha, beta);
      for (const index of [2, 3, 6, 7]) {
        const moved = async (by: number) =>
          (
            await penaltyOf(
              alpha.map((a, at) => (at === index ? a + by : a)),
              beta,
            )
          ).value;
        const difference = ((await moved(step)) - (await moved(-step))) / (2 * step);
        expect(Math.abs((gradient[index] ?? 0) - difference), `a = ${alpha[index]}`).toBeLessThan(tolerance);
      }
    }
  });

  it('sets in behind the warm-up, with an exponent that falls from 20 to 2', () => {
    const settings = { roundingPenalty: 0.01, penaltyWarmUp: 0.2 };
    expect(penaltyAt(19, 100, settings)).toEqual({ beta: 20, weight: 0 });
    expect(penaltyAt(20, 100, settings)).toEqual({ beta: 20, weight: 0.01 });
    expect(penaltyAt(60, 100, settings)).toEqual({ beta: 11, weight: 0.01 });
    expect(penaltyAt(99, 100, settings).beta).toBeCloseTo(2.225, 6);
  });
});

describe('the weight that ships', () => {
  it('is the nearest rounding where nothing was learned', () => {
    const start = roundingStart(held, WEIGHT);
    const hard = hardWeight(held, WEIGHT, start.alpha);
    const expected = roundToCodes(weight, held.scales, WEIGHT);
    expect(Buffer.compare(Buffer.from(roundToCodes(hard, held.scales, WEIGHT)), Buffer.from(expected))).toBe(0);
  });

  it('has exactly the codes that were learned, also at both ends of the grid', () => {
    const { floor, alpha } = roundingStart(held, WEIGHT);
    const flipped = float32(
      alpha.dims,
      alpha.data.map((a, index) => (index % 3 === 0 ? -a : a)),
    );
    const codes = roundToCodes(hardWeight(held, WEIGHT, flipped), held.scales, WEIGHT);
    const expected = Array.from(floor.data, (below, index) => {
      const up = (flipped.data[index] as number) >= 0 ? 1 : 0;
      return Math.min(7, Math.max(-8, below + up));
    });
    expect(Array.from(codes)).toEqual(expected);
    expect(new Set(expected).size).toBe(16);
  });
});
