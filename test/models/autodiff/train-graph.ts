import { InferenceSession, Tensor as OrtTensor } from 'onnxruntime-node';
import { sessionOptions } from '../../../activities/engine/session-factory.js';
import { buildBackward } from '../../../models/autodiff/build-backward.js';
import { foldConstants } from '../../../models/onnx/fold-constants.js';
import { attribute, Graph, initializerFromTensor, node } from '../../../models/onnx/graph.js';
import { writeModel } from '../../../models/onnx/model-proto.js';
import { inferShapes } from '../../../models/onnx/shape-inference.js';
import { float32, type Tensor, tensor } from '../../../models/tensors/tensor.js';

/** A session of the product's own factory on one CPU thread. */
export async function openGraph(
  graph: Graph,
  optimization: 'disabled' | 'all' = 'all',
): Promise<{ run(feeds: ReadonlyMap<string, Tensor>): Promise<Map<string, Tensor>>; release(): Promise<void> }> {
  const settings = { device: 'cpu', threads: 1, spinning: false, optimization } as const;
  const session = await InferenceSession.create(writeModel(graph), {
    ...sessionOptions(settings),
    logSeverityLevel: 3,
  });
  return {
    async run(feeds) {
      const fed = session.inputNames.map((name) => {
        const value = feeds.get(name);
        if (value === undefined) throw new Error(`no feed for ${name}`);
        return [name, new OrtTensor(value.type, value.data as Float32Array, value.dims)] as const;
      });
      const results = await session.run(Object.fromEntries(fed));
      return new Map(
        Object.entries(results).map(([name, value]) => [
          name,
          tensor(value.type as 'float32', value.dims, value.data as Float32Array),
        ]),
      );
    },
    release: () => session.release(),
  };
}

/** Runs a graph once. */
export async function runGraph(
  graph: Graph,
  feeds: ReadonlyMap<string, Tensor>,
  optimization: 'disabled' | 'all' = 'all',
): Promise<Map<string, Tensor>> {
  const opened = await openGraph(graph, optimization);
  try {
    return await opened.run(feeds);
  } finally {
    await opened.release();
  }
}

/** A graph with float32 inputs of these dims. */
export function graphOf(inputs: Readonly<Record<string, readonly number[]>>, opset = 17): Graph {
  const graph = new Graph();
  graph.opset = opset;
  graph.inputs = Object.entries(inputs).map(([name, shape]) => ({ name, type: 'float32', shape }));
  return graph;
}

export function addConstant(graph: Graph, name: string, value: Tensor): void {
  graph.addInitializer(initializerFromTensor(name, value));
}

/** Appends `loss` = mean(output²). */
export function appendMeanSquare(graph: Graph, output: string): void {
  graph.insertNodes([
    node('Mul', [output, output], ['loss.square'], { name: 'loss.square' }),
    node('ReduceMean', ['loss.square'], ['loss'], { name: 'loss', attributes: { keepdims: attribute.int(0) } }),
  ]);
}

/** Appends `loss` = Σ_outputs Σ weight · output; the weights are constants. */
export function appendWeightedSum(graph: Graph, outputs: ReadonlyMap<string, Tensor>): void {
  const parts: string[] = [];
  for (const [name, weight] of outputs) {
    addConstant(graph, `loss.weight.${name}`, weight);
    const part = `loss.part.${name}`;
    graph.insertNodes([
      node('Mul', [name, `loss.weight.${name}`], [`${part}.product`], { name: `${part}.product` }),
      node('ReduceSum', [`${part}.product`], [part], { name: part, attributes: { keepdims: attribute.int(0) } }),
    ]);
    parts.push(part);
  }
  graph.insertNodes([node('Sum', parts, ['loss'], { name: 'loss' })]);
}

/** Infers, folds and differentiates; outputs become `extra`, the loss and the gradients. Returns gradient names by value. */
export function differentiate(
  graph: Graph,
  wrt: readonly string[],
  inputs: Readonly<Record<string, readonly number[]>> = {},
  extra: readonly string[] = [],
): Map<string, string> {
  const keep = [...extra, 'loss'];
  graph.outputs = keep.map((name) => ({ name, type: 'float32', shape: null }));
  foldConstants(graph, inferShapes(graph, inputs));
  const shapes = inferShapes(graph, inputs);
  graph.outputs = keep.map((name) => ({ name, type: shapes.typeOf(name), shape: null }));
  const gradients = buildBackward(graph, shapes, { loss: 'loss', wrt });
  for (const [name, gradient] of gradients) {
    graph.outputs.push({ name: gradient, type: shapes.typeOf(name), shape: shapes.dimsOf(name) });
  }
  return gradients;
}

export function maxAbs(values: ArrayLike<number>): number {
  let largest = 0;
  for (let index = 0; index < values.length; index += 1) largest = Math.max(largest, Math.abs(values[index] ?? 0));
  return largest;
}

export function maxAbsDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let largest = a.length === b.length ? 0 : Number.POSITIVE_INFINITY;
  for (let index = 0; index < a.length; index += 1) {
    const difference = Math.abs((a[index] ?? 0) - (b[index] ?? 0));
    largest = Number.isNaN(difference) ? Number.POSITIVE_INFINITY : Math.max(largest, difference);
  }
  return largest;
}

/** A float32 tensor of the given elements' type-converted copy. */
export function asFloat32Copy(value: Tensor): Tensor<'float32'> {
  return float32(value.dims, Float32Array.from(value.data as Float64Array));
}
