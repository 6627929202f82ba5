import {
  attribute,
  DATA_TYPE,
  Graph,
  initializerFromTensor,
  node,
  type ValueInfo,
} from '../../../models/onnx/graph.js';
import { writeModel } from '../../../models/onnx/model-proto.js';
import { gaussianTensor } from '../../../models/tensors/random.js';
import { int64 } from '../../../models/tensors/tensor.js';

/** Small models for the engine's tests. */

function float32Info(name: string, shape: readonly number[]): ValueInfo {
  return { name, type: 'float32', shape };
}

/** y = x · x · …: `products` square matrix products in a row; enough of them keep an engine busy for seconds. */
export function matMulChain(size: number, products: number): Uint8Array {
  const graph = new Graph();
  graph.inputs = [float32Info('x', [size, size])];
  graph.outputs = [float32Info('y', [size, size])];
  for (let i = 0; i < products; i += 1) {
    const from = i === 0 ? 'x' : `h${i}`;
    graph.nodes.push(node('MatMul', [from, 'x'], [i === products - 1 ? 'y' : `h${i + 1}`], { name: `product${i}` }));
  }
  return writeModel(graph);
}

/** Adds one to each of `count` tensors: outputs y0… of inputs x0…. */
export function incrementMany(count: number, dims: readonly number[]): Uint8Array {
  const graph = new Graph();
  graph.addInitializer(initializerFromTensor('one', { type: 'float32', dims: [], data: Float32Array.of(1) }));
  for (let i = 0; i < count; i += 1) {
    graph.inputs.push(float32Info(`x${i}`, dims));
    graph.outputs.push(float32Info(`y${i}`, dims));
    graph.nodes.push(node('Add', [`x${i}`, 'one'], [`y${i}`], { name: `add${i}` }));
  }
  return writeModel(graph);
}

/** softmax(flatten(conv(x)) · w), with the flattening by shape arithmetic: x is [batch, 8, 16, 16], y is [batch, 64]. */
export function convMatMulSoftmax(): Uint8Array {
  const graph = new Graph();
  graph.inputs = [{ name: 'x', type: 'float32', shape: ['batch', 8, 16, 16] }];
  graph.outputs = [{ name: 'y', type: 'float32', shape: ['batch', 64] }];
  graph.addInitializer(initializerFromTensor('kernel', gaussianTensor(1, 0, [16, 8, 3, 3])));
  graph.addInitializer(initializerFromTensor('w', gaussianTensor(1, 1, [4096, 64])));
  graph.addInitializer(initializerFromTensor('zero', int64([], [0])));
  graph.addInitializer(initializerFromTensor('first', int64([1], [0])));
  graph.addInitializer(initializerFromTensor('rest', int64([1], [-1])));
  graph.addInitializer(initializerFromTensor('scale', { type: 'float32', dims: [], data: Float32Array.of(0.01) }));
  graph.nodes = [
    node('Conv', ['x', 'kernel'], ['c'], { name: 'conv', attributes: { pads: attribute.ints([1, 1, 1, 1]) } }),
    node('Shape', ['x'], ['shape'], { name: 'shape' }),
    node('Gather', ['shape', 'zero'], ['batch'], { name: 'batch' }),
    node('Unsqueeze', ['batch', 'first'], ['batchDim'], { name: 'batchDim' }),
    node('Concat', ['batchDim', 'rest'], ['target'], { name: 'target', attributes: { axis: attribute.int(0) } }),
    node('Reshape', ['c', 'target'], ['flat'], { name: 'flatten' }),
    node('MatMul', ['flat', 'w'], ['m'], { name: 'matmul' }),
    node('Mul', ['m', 'scale'], ['scaled'], { name: 'scaleDown' }),
    node('Softmax', ['scaled'], ['y'], { name: 'softmax', attributes: { axis: attribute.int(-1) } }),
  ];
  return writeModel(graph);
}

/** y = quantize(x): a graph output that onnxruntime-node cannot carry. */
export function int4Output(): Uint8Array {
  const graph = new Graph();
  graph.inputs = [float32Info('x', [4])];
  graph.outputs = [{ name: 'y', type: 'int4', shape: [4] }];
  graph.addInitializer(initializerFromTensor('scale', { type: 'float32', dims: [], data: Float32Array.of(1) }));
  graph.addInitializer({ name: 'zeroPoint', type: 'int4', dims: [], raw: Uint8Array.of(0) });
  graph.nodes = [node('QuantizeLinear', ['x', 'scale', 'zeroPoint'], ['y'], { name: 'quantize' })];
  return writeModel(graph);
}

/** y = softmax(x) as float32 of a product in float64, which no GPU provider of onnxruntime-node implements. */
export function doubleProduct(size: number): Uint8Array {
  const graph = new Graph();
  graph.inputs = [float32Info('x', [size, size])];
  graph.outputs = [float32Info('y', [size, size])];
  graph.nodes = [
    node('Softmax', ['x'], ['s'], { name: 'softmax' }),
    node('Cast', ['s'], ['d'], { name: 'toDouble', attributes: { to: attribute.int(DATA_TYPE.float64) } }),
    node('MatMul', ['d', 'd'], ['p'], { name: 'doubleProduct' }),
    node('Cast', ['p'], ['y'], { name: 'toFloat', attributes: { to: attribute.int(DATA_TYPE.float32) } }),
  ];
  return writeModel(graph);
}
