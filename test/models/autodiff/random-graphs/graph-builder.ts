import { type Attribute, type Graph, node } from '../../../../models/onnx/graph.js';
import { inferShapes } from '../../../../models/onnx/shape-inference.js';
import { uniforms } from '../../../../models/tensors/random.js';
import { elementCount, type Tensor } from '../../../../models/tensors/tensor.js';
import { type Differences, floatTensor } from '../central-differences.js';
import { addConstant, graphOf } from '../train-graph.js';

/** A value of a random graph. */
export interface RandomValue {
  readonly name: string;
  readonly dims: readonly number[];
}

/** Writes a random graph and keeps what central differences need to know about it. */
export class GraphBuilder {
  readonly graph: Graph;
  readonly feeds = new Map<string, Tensor>();
  /** Values that must not change their sign within a step: where one is 0, an operator has a kink. */
  readonly kinks: string[] = [];
  private count = 0;

  constructor(
    readonly type: Differences['type'],
    opset: number,
    private readonly seed: number,
  ) {
    this.graph = graphOf({}, opset);
  }

  /** A differentiated input, uniform in ±1. */
  parameter(dims: readonly number[]): RandomValue {
    const name = `p${this.feeds.size}`;
    const values = uniforms(this.seed, this.feeds.size, elementCount(dims)).map((u) => 2 * u - 1);
    this.feeds.set(name, floatTensor(this.type, dims, values));
    this.graph.inputs.push({ name, type: this.type, shape: dims });
    return { name, dims };
  }

  constant(value: Tensor): RandomValue {
    const name = `c${this.graph.initializers.size}`;
    addConstant(this.graph, name, value);
    return { name, dims: value.dims };
  }

  number(value: number): RandomValue {
    return this.constant(floatTensor(this.type, [], [value]));
  }

  /** One node; the dims of its first output come from shape inference. */
  emit(
    opType: string,
    inputs: readonly (RandomValue | undefined)[],
    attributes: Readonly<Record<string, Attribute>> = {},
    unread = 0,
  ): RandomValue {
    const [first = ''] = this.emitAll(opType, inputs, attributes, 1 + unread);
    return { name: first, dims: inferShapes(this.graph).dimsOf(first) };
  }

  emitAll(
    opType: string,
    inputs: readonly (RandomValue | undefined)[],
    attributes: Readonly<Record<string, Attribute>>,
    outputs: number,
  ): string[] {
    const name = `n${this.count}`;
    this.count += 1;
    const made = Array.from({ length: outputs }, (_, index) => `${name}.${index}`);
    const read = inputs.map((input) => input?.name ?? '');
    this.graph.insertNodes([node(opType, read, made, { name, attributes: { ...attributes } })]);
    return made;
  }

  reshape(value: RandomValue, dims: readonly number[]): RandomValue {
    return this.emit('Reshape', [value, this.integers(dims)]);
  }

  integers(values: readonly number[], dims: readonly number[] = [values.length]): RandomValue {
    return this.constant({ type: 'int64', dims, data: BigInt64Array.from(values, BigInt) });
  }

  /** The sign of this value decides which way an operator goes. */
  kink(value: RandomValue): void {
    this.kinks.push(value.name);
  }

  /** The order of all elements decides which way an operator goes. */
  kinkOfOrder(value: RandomValue): void {
    const count = elementCount(value.dims);
    const column = this.reshape(value, [count, 1]);
    const gaps = this.emit('Sub', [column, this.reshape(value, [1, count])]);
    const apart = Array.from({ length: count * count }, (_, index) => (index % (count + 1) === 0 ? 1 : 0));
    this.kink(this.emit('Add', [gaps, this.constant(floatTensor(this.type, [count, count], apart))]));
  }
}
