import { Graph, intAttribute, type Node } from '../../../models/onnx/graph.js';
import { NodeEmitter } from '../../../models/onnx/node-emitter.js';
import { removeDeadCode } from '../../../models/onnx/remove-dead-code.js';
import { elementCount, type Tensor } from '../../../models/tensors/tensor.js';
import { insertQuantizers } from '../../../quantization/conversion/insert-quantizers.js';
import { qdqLowering } from '../../../quantization/conversion/lower-to-qdq.js';
import type { QuantizedParameters } from '../../../quantization/quantized-parameters.js';
import { convertZoo, type PreparedZoo, pipeline } from '../quantized-zoo.js';

/** The converted denoiser in pieces. */
export interface ConvertedZoo {
  readonly prepared: PreparedZoo;
  /** What is shipped. */
  readonly graph: Graph;
  /** The shipped name of a value of the transformed float graph. */
  shipped(value: string): string;
}

export function convertedZoo(prepared: PreparedZoo, parameters: QuantizedParameters): ConvertedZoo {
  const graph = convertZoo(prepared, parameters);
  const names = shippedNames(prepared, parameters, graph);
  return { prepared, graph, shipped: (value) => names.get(value) ?? value };
}

/** Inner values are renamed at the end of conversion, node by node; the same graph before that says which is which. */
function shippedNames(prepared: PreparedZoo, parameters: QuantizedParameters, converted: Graph): Map<string, string> {
  const graph = prepared.graph.clone();
  const emitter = new NodeEmitter(graph, 'q');
  const { timestep } = pipeline.denoiser.inputs;
  const lowering = qdqLowering({ graph, shapes: prepared.shapes, parameters, timestep }, emitter);
  insertQuantizers(graph, prepared.plan, lowering, emitter);
  removeDeadCode(graph);
  if (graph.nodes.length !== converted.nodes.length) throw new Error('the two conversions differ');
  const names = new Map<string, string>();
  for (const [index, node] of graph.nodes.entries()) {
    const other = converted.nodes[index] as Node;
    if (other.opType !== node.opType) throw new Error(`the two conversions differ at ${node.name}`);
    node.outputs.forEach((output, at) => {
      names.set(output, other.outputs[at] ?? '');
    });
  }
  return names;
}

/** The nodes that compute `target` from constants, graph inputs and the values in `from`, as a model of its own. */
export function cutOut(
  graph: Graph,
  target: string,
  from: ReadonlySet<string>,
  fed: Readonly<Record<string, Tensor>>,
): Graph {
  const cut = new Graph();
  const needed = new Set<string>();
  const inputs = new Set<string>();
  const visit = (value: string): void => {
    const constant = graph.initializers.get(value);
    const producer = graph.producerOf(value);
    if (value === '' || inputs.has(value) || (producer !== undefined && needed.has(producer.name))) return;
    if (constant !== undefined) cut.addInitializer(constant);
    else if (producer === undefined || (from.has(value) && value !== target)) inputs.add(value);
    else {
      needed.add(producer.name);
      for (const input of producer.inputs) visit(input);
    }
  };
  visit(target);
  cut.nodes = graph.nodes.filter((node) => needed.has(node.name));
  cut.inputs = [...inputs].map((name) => {
    const value = fed[name];
    if (value === undefined) throw new Error(`no value for ${name}`);
    return { name, type: value.type, shape: value.dims };
  });
  cut.outputs = [{ name: target, type: 'float32', shape: null }];
  return cut;
}

/** The DequantizeLinear behind which `value` is, past what restores dims. */
export function dequantizerOf(graph: Graph, value: string): Node {
  let node = graph.producerOf(value);
  while (node !== undefined && node.opType !== 'DequantizeLinear') node = graph.producerOf(node.inputs[0] ?? '');
  if (node === undefined) throw new Error(`${value} is not dequantized`);
  return node;
}

/** The scale of each of `count` elements that `dequantizer` gives, in their order. */
export function elementScales(dequantizer: Node, scale: Tensor, count: number): Float32Array {
  const data = scale.data as Float32Array;
  const block = intAttribute(dequantizer, 'block_size', 0);
  // One scale, or one per row.
  if (block === 0)
    return Float32Array.from({ length: count }, (_, at) => data[Math.floor((at * data.length) / count)] ?? 0);
  const axis = intAttribute(dequantizer, 'axis', 1);
  const inner = elementCount(scale.dims.slice(axis + 1));
  const length = count / (elementCount(scale.dims.slice(0, axis)) * inner);
  const blocks = scale.dims[axis] ?? 1;
  return Float32Array.from({ length: count }, (_, at) => {
    const outer = Math.floor(at / (length * inner));
    const along = Math.floor((Math.floor(at / inner) % length) / block);
    return data[(outer * blocks + along) * inner + (at % inner)] ?? 0;
  });
}
