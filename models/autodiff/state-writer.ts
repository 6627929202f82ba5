import {
  type Attribute,
  type DataTypeName,
  type Graph,
  initializerFromTensor,
  type Node,
  node,
} from '../onnx/graph.js';
import { float32, type Tensor } from '../tensors/tensor.js';

/** Writes an optimizer's nodes, inputs and outputs: collects nodes, adds inputs, outputs and constants to the graph at once. */
export class StateWriter {
  readonly nodes: Node[] = [];

  constructor(private readonly graph: Graph) {}

  /** A graph input, added when the graph does not have it. */
  input(name: string, dims: readonly number[], type: DataTypeName = 'float32'): string {
    if (!this.graph.inputs.some((input) => input.name === name)) this.graph.inputs.push({ name, type, shape: dims });
    return name;
  }

  write(opType: string, inputs: string[], output: string, attributes: Record<string, Attribute> = {}): string {
    this.nodes.push(node(opType, inputs, [output], { name: output, attributes }));
    return output;
  }

  /** A node whose output is a graph output. */
  output(
    opType: string,
    inputs: string[],
    output: string,
    dims: readonly number[],
    options: { type?: DataTypeName; attributes?: Record<string, Attribute> } = {},
  ): string {
    this.graph.outputs.push({ name: output, type: options.type ?? 'float32', shape: dims });
    return this.write(opType, inputs, output, options.attributes);
  }

  number(value: number): string {
    return this.constant(`adam.constant.${value}`, float32([], [value]));
  }

  /** An initializer; equal names are the same constant. */
  constant(name: string, value: Tensor): string {
    return this.graph.addInitializer(initializerFromTensor(name, value));
  }

  /** A reduction over the last of two axes, which stays with size 1. */
  reduceRows(opType: 'ReduceMax' | 'ReduceMin', value: string, output: string): string {
    if (this.graph.opset < 18) {
      return this.write(opType, [value], output, { axes: { kind: 'ints', value: [1] } });
    }
    const axes = this.constant('adam.axes', { type: 'int64', dims: [1], data: BigInt64Array.of(1n) });
    return this.write(opType, [value, axes], output);
  }
}
