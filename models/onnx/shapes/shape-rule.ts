import type { Tensor } from '../../tensors/tensor.js';
import type { DataTypeName, Node } from '../graph.js';

/** What is known about a value for one binding of the inputs' dims. */
export interface ValueFacts {
  readonly type: DataTypeName;
  readonly dims: readonly number[];
  /** Its elements, when they follow from the dims and the initializers alone. */
  readonly constant?: Tensor | undefined;
}

/** Computed constants larger than this are not propagated; they cannot be shapes, and would only cost time. */
export const LARGEST_CONSTANT = 4096;

/** What an operator's rule sees of its node. */
export interface RuleContext {
  readonly node: Node;
  readonly opset: number;
  /** Facts of input `index`. @throws ShapeRuleError when the input is omitted. */
  input(index: number): ValueFacts;
  /** Facts of an optional input; undefined when it is omitted. */
  optional(index: number): ValueFacts | undefined;
  /** The integers that input `index` holds. @throws ShapeRuleError when they depend on the data. */
  integers(index: number): number[];
}

/** Types and dims of a node's outputs, in order. */
export type ShapeRule = (context: RuleContext) => readonly ValueFacts[];

/** A node whose inputs do not fit its operator; the message says why, the caller adds which node. */
export class ShapeRuleError extends Error {
  override readonly name = 'ShapeRuleError';
}

/** An axis counted from the front. @throws ShapeRuleError when out of range. */
export function normalizeAxis(axis: number, rank: number): number {
  const result = axis < 0 ? axis + rank : axis;
  if (result < 0 || result >= rank) throw new ShapeRuleError(`axis ${axis} does not exist in a tensor of rank ${rank}`);
  return result;
}

/** `[2, 3]` for messages. */
export function dimsText(dims: readonly number[]): string {
  return `[${dims.join(', ')}]`;
}

/** dims[axis]. @throws ShapeRuleError when the rank is too small. */
export function dimAt(dims: readonly number[], axis: number): number {
  const dim = dims[axis];
  if (dim === undefined) throw new ShapeRuleError(`a tensor of dims ${dimsText(dims)} has no axis ${axis}`);
  return dim;
}
