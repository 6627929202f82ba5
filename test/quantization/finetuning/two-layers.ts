import type { EngineExecutor } from '../../../activities/engine/engine-executor.js';
import { Graph, initializerFromTensor, node } from '../../../models/onnx/graph.js';
import { writeModel } from '../../../models/onnx/model-proto.js';
import { asFloat32, type Float32Tensor, float32, type Tensor, zeros } from '../../../models/tensors/tensor.js';
import { buildTrainingGraph, TRAINING_INPUTS } from '../../../quantization/finetuning/training-graph.js';
import type {
  ActivationScheme,
  PlannedLayer,
  QuantizationPlan,
  WeightScheme,
} from '../../../quantization/layer-plan.js';
import type { QuantizedParameters } from '../../../quantization/quantized-parameters.js';
import { dequantizeCodes, roundToCodes } from '../../../quantization/rounding/round-nearest.js';
import { weightScales } from '../../../quantization/rounding/weight-scales.js';

/** Two layers, ŷ = q(x·Ŵ₁)·Ŵ₂ with a quantizer q between them, and the gradients of their training graph. */

const BETA1 = 0.9;

export const ROWS = 6;
export const IN = 8;
export const HIDDEN = 16;
/** As many as inputs: a denoiser says something about each. */
const OUT = IN;

export function twoLayers(weights: readonly [Float32Tensor, Float32Tensor]): Graph {
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

export function twoLayerPlan(scheme: ActivationScheme, weightScheme: WeightScheme): QuantizationPlan {
  const layer = (name: string, dims: readonly number[], index: number): PlannedLayer => ({
    name,
    node: name,
    opType: 'MatMul',
    role: 'linear',
    output: index === 0 ? 'h' : 'y',
    weight: { initializer: `w${index}`, dims, outputAxis: 1, inputAxis: 0, bias: null, scheme: weightScheme },
    inputs: index === 0 ? [] : [{ value: 'h', index: 0, channelAxis: 1, rows: 'batch', scheme }],
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

/** A weight with its scales and what its codes stand for. */
export interface HeldWeight {
  readonly weight: Float32Tensor;
  readonly scales: Float32Tensor;
  readonly value: Float32Tensor;
}

export function heldWeight(weight: Float32Tensor, scheme: WeightScheme): HeldWeight {
  const axes = { outputAxis: 1, inputAxis: 0, scheme };
  const scales = weightScales(weight, axes);
  return { weight, scales, value: dequantizeCodes(roundToCodes(weight, scales, axes), weight.dims, scales, axes) };
}

/** a [m, k] · b [k, n], in doubles. */
export function product(a: Float32Tensor, b: Float32Tensor): Float32Tensor {
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

export function transposed(value: Float32Tensor): Float32Tensor {
  const [m = 0, n = 0] = value.dims;
  return float32(
    [n, m],
    Array.from({ length: m * n }, (_, at) => value.data[(at % m) * n + Math.floor(at / m)] ?? 0),
  );
}

/** ∂loss/∂y of loss = mean((y − t)²). */
export function slopeOf(y: Float32Tensor, target: Float32Tensor): Float32Tensor {
  return float32(
    y.dims,
    y.data.map((value, at) => (2 * (value - (target.data[at] ?? 0))) / y.data.length),
  );
}

/** Gradients of the trainables when the first layer is trained: Adam's first moment after one step is (1 − β₁) times them. */
export async function trainingGradients(
  executor: EngineExecutor,
  {
    graph,
    plan,
    parameters,
    trustFactor = null,
    layerLossWeight = 0,
  }: {
    graph: Graph;
    plan: QuantizationPlan;
    parameters: QuantizedParameters;
    trustFactor?: number | null;
    layerLossWeight?: number;
  },
  { x, target, t }: { readonly x: Float32Tensor; readonly target: Float32Tensor; readonly t?: Float32Tensor },
): Promise<Map<string, Float32Array>> {
  const training = buildTrainingGraph({
    graph,
    plan,
    parameters,
    inputs: { sample: 'x', timestep: 't', conditioning: null },
    sampleDims: x.dims,
    conditioningDims: null,
    trainedLayers: new Set(['first']),
    layerLossWeight,
    outputLossWeight: 1,
    guided: null,
    trustFactor,
  });
  const runnable = await executor.open(writeModel(training.graph));
  const feeds: Record<string, Tensor> = {};
  for (const name of runnable.inputNames) {
    const shape = training.graph.inputs.find((input) => input.name === name)?.shape ?? [];
    feeds[name] = zeros('float32', shape.map(Number));
  }
  for (const { name, initial } of training.trainables) feeds[name] = initial;
  Object.assign(feeds, { x, [TRAINING_INPUTS.step]: float32([], [1]) });
  if (t !== undefined) feeds.t = t;
  if (runnable.inputNames.includes(TRAINING_INPUTS.target)) feeds[TRAINING_INPUTS.target] = target;
  const moments = training.trainables.map(({ name }) => [name, training.updates.get(`${name}.m`) ?? ''] as const);
  const found = await runnable.run(
    feeds,
    moments.map(([, moment]) => moment),
  );
  await runnable.release();
  const gradient = (moment: string): Float32Array =>
    asFloat32(found[moment] as Tensor).data.map((value) => value / (1 - BETA1));
  return new Map(moments.map(([name, moment]) => [name, gradient(moment)]));
}
