import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EngineExecutor } from '../../../activities/engine/engine-executor.js';
import { Graph, initializerFromTensor, node } from '../../../models/onnx/graph.js';
import { writeModel } from '../../../models/onnx/model-proto.js';
import { gaussianTensor } from '../../../models/tensors/random.js';
import { asFloat32, type Float32Tensor, float32, type Tensor, zeros } from '../../../models/tensors/tensor.js';
import { buildTrainingGraph, TRAINING_INPUTS } from '../../../quantization/finetuning/training-graph.js';
import type { PlannedLayer, QuantizationPlan, WeightScheme } from '../../../quantization/layer-plan.js';
import type { QuantizedParameters } from '../../../quantization/quantized-parameters.js';
import { dequantizeCodes, roundToCodes } from '../../../quantization/rounding/round-nearest.js';
import { weightScales } from '../../../quantization/rounding/weight-scales.js';
import { maxAbs, maxAbsDifference } from '../../models/autodiff/train-graph.js';
import { referenceQuantized, SCHEME } from '../conversion/lowered-quantizer.js';

/**
 * Two layers, ŷ = q(x·Ŵ₁)·Ŵ₂ with a dynamic quantizer q between them, loss = mean((ŷ − t)²). Straight-through, q is the
 * identity for gradients, also through its own range: ∂loss/∂Ŵ₁ = xᵀ·(2(ŷ − t)/n · Ŵ₂ᵀ), and by codes that times the scale.
 */

/** Float32 sums of some tens of products; the reference is in doubles. */
const TOLERANCE = 1e-5;
const BETA1 = 0.9;

const ROWS = 6;
const IN = 8;
const HIDDEN = 16;
/** As many as inputs: a denoiser says something about each. */
const OUT = IN;
const WEIGHT_SCHEME: WeightScheme = { bits: 4, groupSize: null, range: 'absmax' };

let executor: EngineExecutor;
beforeAll(async () => {
  executor = await EngineExecutor.start({ device: 'cpu', threads: 1 });
});
afterAll(() => executor.close());

function twoLayers(weights: readonly [Float32Tensor, Float32Tensor]): Graph {
  const graph = new Graph();
  graph.inputs = [
    { name: 'x', type: 'float32', shape: ['rows', IN] },
    { name: 't', type: 'float32', shape: ['rows'] },
  ];
  weights.forEach((weight, index) => {
    graph.addInitializer(initializerFromTensor(`w${index}`, weight));
  });
  graph.nodes = [
    node('MatMul', ['x', 'w0'], ['h'], { name: 'first' }),
    node('MatMul', ['h', 'w1'], ['y'], { name: 'second' }),
  ];
  graph.outputs = [{ name: 'y', type: 'float32', shape: ['rows', OUT] }];
  return graph;
}

function planOf(symmetric: boolean, groupSize: number | null): QuantizationPlan {
  const layer = (name: string, dims: readonly number[], index: number): PlannedLayer => ({
    name,
    node: name,
    opType: 'MatMul',
    role: 'linear',
    output: index === 0 ? 'h' : 'y',
    weight: { initializer: `w${index}`, dims, outputAxis: 1, inputAxis: 0, bias: null, scheme: WEIGHT_SCHEME },
    inputs:
      index === 0
        ? []
        : [{ value: 'h', index: 0, channelAxis: 1, rows: 'batch', scheme: { ...SCHEME, symmetric, groupSize } }],
    skipped: null,
    parameters: 0,
    macs: 0,
  });
  return {
    schemaVersion: 1,
    layers: [layer('first', [IN, HIDDEN], 0), layer('second', [HIDDEN, OUT], 1)],
    coverage: { layers: 1, parameters: 1, macs: 1, macsByBits: {} },
    floatBytes: 0,
    estimatedBytes: 0,
  };
}

/** a [m, k] · b [k, n], in doubles. */
function product(a: Float32Tensor, b: Float32Tensor): Float32Tensor {
  const [m = 0, k = 0] = a.dims;
  const n = b.dims[1] ?? 0;
  const entry = (row: number, column: number): number => {
    let sum = 0;
    for (let at = 0; at < k; at += 1) sum += (a.data[row * k + at] ?? 0) * (b.data[at * n + column] ?? 0);
    return sum;
  };
  return float32(
    [m, n],
    Array.from({ length: m * n }, (_, at) => entry(Math.floor(at / n), at % n)),
  );
}

function transposed(value: Float32Tensor): Float32Tensor {
  const [m = 0, n = 0] = value.dims;
  return float32(
    [n, m],
    Array.from({ length: m * n }, (_, at) => value.data[(at % m) * n + Math.floor(at / m)] ?? 0),
  );
}

for (const symmetric of [false, true]) {
  for (const groupSize of [null, 8]) {
    describe(`gradients past a ${symmetric ? 'signed' : 'unsigned'} dynamic range, groups of ${groupSize ?? 'all'}`, () => {
      it('are those of the identity', async () => {
        const weights = [gaussianTensor(1, 0, [IN, HIDDEN]), gaussianTensor(1, 1, [HIDDEN, OUT])] as const;
        const x = gaussianTensor(2, 0, [ROWS, IN]);
        const target = gaussianTensor(3, 0, [ROWS, OUT]);
        const plan = planOf(symmetric, groupSize);
        const held = weights.map((weight, index) => {
          const axes = { outputAxis: 1, inputAxis: 0, scheme: WEIGHT_SCHEME };
          const scales = weightScales(weight, axes);
          const value = dequantizeCodes(roundToCodes(weight, scales, axes), weight.dims, scales, axes);
          return { name: index === 0 ? 'first' : 'second', weight, scales, value };
        });
        const parameters: QuantizedParameters = {
          timesteps: [],
          weights: new Map(held.map(({ name, weight, scales }) => [name, { weight, scales, bias: null }])),
          activations: new Map(),
        };
        const gradient = await codeGradient(twoLayers(weights), plan, parameters, { x, target });

        const [first, second] = held as [(typeof held)[0], (typeof held)[0]];
        const hidden = product(x, first.value);
        const one = { dims: hidden.dims, channelAxis: 1, scheme: { ...SCHEME, symmetric, groupSize } };
        const quantized = float32(hidden.dims, referenceQuantized(one, hidden).values);
        expect(maxAbsDifference(quantized.data, hidden.data)).toBeGreaterThan(0);
        const y = product(quantized, second.value);
        const slope = float32(
          y.dims,
          y.data.map((value, at) => (2 * (value - (target.data[at] ?? 0))) / y.data.length),
        );
        const byWeight = product(transposed(x), product(slope, transposed(second.value)));
        // A code that is clamped, as the largest positive weight of a channel is, has no gradient.
        const last = 2 ** (WEIGHT_SCHEME.bits - 1) - 1;
        const expected = byWeight.data.map((value, at) => {
          const scale = first.scales.data[at % HIDDEN] ?? 0;
          return (first.weight.data[at] ?? 0) / scale > last ? 0 : value * scale;
        });
        expect(expected.filter((value) => value === 0).length).toBeLessThanOrEqual(HIDDEN);
        expect(maxAbsDifference(gradient, expected)).toBeLessThanOrEqual(TOLERANCE * maxAbs(expected));
      });
    });
  }
}

/** ∂loss/∂codes of the first layer: Adam's first moment after one step is (1 − β₁) times it. */
async function codeGradient(
  graph: Graph,
  plan: QuantizationPlan,
  parameters: QuantizedParameters,
  { x, target }: { readonly x: Float32Tensor; readonly target: Float32Tensor },
): Promise<Float32Array> {
  const training = buildTrainingGraph({
    graph,
    plan,
    parameters,
    inputs: { sample: 'x', timestep: 't', conditioning: null },
    sampleDims: x.dims,
    conditioningDims: null,
    trainedLayers: new Set(['first']),
    layerLossWeight: 0,
    outputLossWeight: 1,
    guided: null,
  });
  const runnable = await executor.open(writeModel(training.graph));
  const feeds: Record<string, Tensor> = {};
  for (const name of runnable.inputNames) {
    const shape = training.graph.inputs.find((input) => input.name === name)?.shape ?? [];
    feeds[name] = zeros('float32', shape.map(Number));
  }
  for (const { name, initial } of training.trainables) feeds[name] = initial;
  Object.assign(feeds, { x, [TRAINING_INPUTS.target]: target, [TRAINING_INPUTS.step]: float32([], [1]) });
  const moment = training.updates.get(`${training.trainables[0]?.name}.m`) ?? '';
  const found = await runnable.run(feeds, [moment]);
  await runnable.release();
  return asFloat32(found[moment] as Tensor).data.map((value) => value / (1 - BETA1));
}
