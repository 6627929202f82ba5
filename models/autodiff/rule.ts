import type { DataTypeName, Node } from '../onnx/graph.js';
import { elementCount, type Tensor } from '../tensors/tensor.js';
import { type Expressions, sameDims, type Value } from './expressions.js';
import { type Gradient, plain, settle } from './gradient.js';

/** The vector-Jacobian product of one operator. */
export interface OperatorRule {
  /** Inputs a gradient can flow to; a path through any other float input is an error. */
  readonly inputs: 'all' | readonly number[];
  /** Inputs whose values do not change the output (a type, a pattern): no gradient flows to them, and that is no error. */
  readonly flatInputs?: readonly number[];
  /** `all` when the rule reads the gradients of every output; otherwise a gradient at another output than 0 is an error. */
  readonly outputs?: 'all';
  /** Outputs that are no real numbers (indices, masks) or do not change with the inputs. */
  readonly flatOutputs?: readonly number[];
  /** Contributions to the gradients of the inputs, by index; entries that are not wanted are ignored. */
  readonly vjp: (context: RuleContext) => Contributions;
  /** Why this node cannot be differentiated although its operator can, or undefined. */
  readonly refuses?: (node: Node, constantOf: ConstantOf, opset: number) => string | undefined;
}

export type Contributions = readonly (Gradient | Value | undefined)[];
export type ConstantOf = (value: string) => Tensor | undefined;

/** What a rule sees of the node it differentiates. */
export class RuleContext {
  constructor(
    readonly node: Node,
    readonly e: Expressions,
    private readonly gradients: readonly (Gradient | undefined)[],
    private readonly wanted: ReadonlySet<number>,
    readonly constantOf: ConstantOf,
  ) {}

  /** Forward value of an input; throws when it is omitted. */
  input(index: number): Value {
    const name = this.node.inputs[index];
    if (name === undefined || name === '') throw new RangeError(`${this.node.name} has no input ${index}`);
    return this.e.value(name);
  }

  hasInput(index: number): boolean {
    return (this.node.inputs[index] ?? '') !== '';
  }

  /** Forward value of an output. */
  output(index = 0): Value {
    const name = this.node.outputs[index];
    if (name === undefined || name === '') throw new RangeError(`${this.node.name} has no output ${index}`);
    return this.e.value(name);
  }

  /** Whether the gradient of an input is wanted. */
  wants(index: number): boolean {
    return this.wanted.has(index);
  }

  hasGradient(index = 0): boolean {
    return this.gradients[index] !== undefined;
  }

  /** The gradient of an output with its waiting factors, not yet broadcast. */
  scaled(index = 0): Gradient {
    const gradient = this.gradients[index];
    if (gradient === undefined) throw new RangeError(`${this.node.name} has no gradient at output ${index}`);
    return gradient;
  }

  /** The gradient of an output in the output's own dims. */
  gradient(index = 0): Value {
    return wholeGradient(this.e, this.scaled(index), this.output(index).dims);
  }

  /** An optional output of the forward node, asked for when it is not there yet. */
  extraOutput(index: number, suffix: string, dims: readonly number[], type: DataTypeName): Value {
    const { outputs } = this.node;
    while (outputs.length <= index) outputs.push('');
    if (outputs[index] === '') outputs[index] = this.e.fresh(`grad/${this.e.scope}/${suffix}`);
    return { name: outputs[index] ?? '', dims, type };
  }

  /** The elements of a constant integer input; undefined when it is omitted. */
  integers(index: number): number[] | undefined {
    if (!this.hasInput(index)) return undefined;
    const constant = this.constantOf(this.node.inputs[index] ?? '');
    if (constant === undefined) throw new RangeError(`input ${index} of ${this.node.name} must be constant`);
    return Array.from(constant.data, Number);
  }
}

/** A gradient as one value of exactly `dims`. */
export function wholeGradient(e: Expressions, gradient: Gradient, dims: readonly number[]): Value {
  const value = settle(e, gradient);
  if (sameDims(value.dims, dims)) return value;
  return elementCount(value.dims) === elementCount(dims) && value.name !== ''
    ? e.reshape(value, dims)
    : e.expand(value, dims);
}

/** A contribution as a gradient. */
export function asGradient(contribution: Gradient | Value): Gradient {
  return 'value' in contribution ? contribution : plain(contribution);
}

/** A possibly negative axis as an index. */
export function normalizedAxis(axis: number, rank: number): number {
  return axis < 0 ? axis + rank : axis;
}
