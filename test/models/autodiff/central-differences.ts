import type { Graph } from '../../../models/onnx/graph.js';
import { inferShapes } from '../../../models/onnx/shape-inference.js';
import { gaussianTensor, uniforms } from '../../../models/tensors/random.js';
import { type Tensor, tensor } from '../../../models/tensors/tensor.js';
import { openGraph } from './train-graph.js';

/**
 * Richardson-extrapolated central differences, D = (4·D(h) − D(2h))/3: what is left of the truncation is h⁴·f⁽⁵⁾/30, and the
 * rounding of outputs divided by h.
 */
export interface Differences {
  readonly type: 'float32' | 'float64';
  readonly step: number;
  /** Of the derivative, relative to the sum of the magnitudes of its terms plus one. */
  readonly tolerance: number;
}

/**
 * h⁴/30 = 3e-14 and 2⁻⁵³/h = 1e-13. The tolerance leaves room for fifth derivatives of 1e4 (tan and its like near their poles).
 */
export const FLOAT64: Differences = { type: 'float64', step: 2 ** -10, tolerance: 1e-9 };

/**
 * For operators that onnxruntime computes in float32 only. 2⁻²⁴/h = 4e-6 of the outputs' total asks for a large step, whose
 * truncation is h⁴/30 = 2e-9 times the fifth derivative. The step keeps 2·h below the distance of `apart` values from each other
 * and from kinks (0.033).
 */
export const FLOAT32: Differences = { type: 'float32', step: 2 ** -6, tolerance: 2e-4 };

/** Operators that onnxruntime's CPU provider (1.30) has no float64 kernel for, in the forward pass itself. */
export const NO_FLOAT64_KERNEL: ReadonlySet<string> = new Set([
  'Acos',
  'Acosh',
  'Asin',
  'Asinh',
  'Atan',
  'Atanh',
  'AveragePool',
  'Celu',
  'Conv',
  'ConvTranspose',
  'Cosh',
  'Elu',
  'Erf',
  'Gelu',
  'GlobalAveragePool',
  'GlobalMaxPool',
  'HardSigmoid',
  'HardSwish',
  'InstanceNormalization',
  'Mean',
  'MeanVarianceNormalization',
  'Resize',
  'Selu',
  'Sinh',
  'Softplus',
  'Softsign',
  'Tan',
  'ThresholdedRelu',
]);

export type FloatTensor = Tensor<'float32'> | Tensor<'float64'>;

/** A float tensor of this type from numbers. */
export function floatTensor(
  type: Differences['type'],
  dims: readonly number[],
  values: ArrayLike<number>,
): FloatTensor {
  return type === 'float64'
    ? tensor('float64', dims, Float64Array.from(values))
    : tensor('float32', dims, Float32Array.from(values));
}

/** A Gaussian weight for each output. */
export function lossWeights(
  type: Differences['type'],
  graph: Graph,
  outputs: readonly string[],
): Map<string, FloatTensor> {
  const shapes = inferShapes(graph);
  return new Map(
    outputs.map((name, index) => {
      const dims = shapes.dimsOf(name);
      return [name, floatTensor(type, dims, gaussianTensor(9, index, dims).data)] as const;
    }),
  );
}

/** Σ weight · output, summed in double precision, for a graph without gradients. */
export async function lossFunction(graph: Graph, weights: ReadonlyMap<string, Tensor>) {
  const forward = graph.clone();
  const shapes = inferShapes(forward);
  forward.outputs = [...weights.keys()].map((name) => ({
    name,
    type: shapes.typeOf(name),
    shape: shapes.dimsOf(name),
  }));
  const session = await openGraph(forward, 'disabled');
  const evaluate = async (feeds: ReadonlyMap<string, Tensor>) => {
    const results = await session.run(feeds);
    let loss = 0;
    for (const [name, weight] of weights) {
      const values = results.get(name)?.data as Float64Array;
      for (const [index, value] of values.entries()) loss += value * (weight.data[index] as number);
    }
    return loss;
  };
  return { evaluate, release: session.release };
}

/** The feeds with one of them moved along a direction. */
export function moved(feeds: ReadonlyMap<string, Tensor>, name: string, direction: ArrayLike<number>, step: number) {
  const start = feeds.get(name);
  if (start === undefined) throw new Error(`no feed for ${name}`);
  const values = Float64Array.from(start.data as Float64Array, (value, at) => value + step * (direction[at] ?? 0));
  return new Map(feeds).set(name, floatTensor(start.type as Differences['type'], start.dims, values));
}

/** ±1 in every element, so that one wrong element of a gradient is seen. */
export function signs(stream: number, count: number): number[] {
  return Array.from(uniforms(13, stream, count), (u) => (u < 0.5 ? -1 : 1));
}

/** The derivative along a direction, from values of the loss. */
export async function numericDerivative(lossAt: (step: number) => Promise<number>, step: number): Promise<number> {
  const difference = async (h: number) => ((await lossAt(h)) - (await lossAt(-h))) / (2 * h);
  return (4 * (await difference(step)) - (await difference(2 * step))) / 3;
}

/** The derivative along a direction, from a gradient, and the sum of its terms' magnitudes. */
export function analyticDerivative(gradient: ArrayLike<number>, direction: ArrayLike<number>) {
  let [derivative, magnitude] = [0, 0];
  for (let at = 0; at < gradient.length; at += 1) {
    const term = (gradient[at] ?? Number.NaN) * (direction[at] ?? 0);
    derivative += term;
    magnitude += Math.abs(term);
  }
  return { derivative, magnitude };
}
