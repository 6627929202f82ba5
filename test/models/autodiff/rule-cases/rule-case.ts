import type { Attribute } from '../../../../models/onnx/graph.js';
import type { Tensor } from '../../../../models/tensors/tensor.js';

/** One use of an operator: `inputs` are differentiated float inputs (dims) or constants, in order. */
export interface RuleCase {
  readonly title: string;
  readonly opType: string;
  readonly inputs: readonly (readonly number[] | Tensor | null)[];
  readonly attributes?: Readonly<Record<string, Attribute>>;
  readonly outputs?: number;
  /** Further outputs that the loss does not read. */
  readonly unread?: number;
  /** Default 17. */
  readonly opset?: number;
  readonly values?: CaseValues;
  /** Why onnxruntime computes this case in float32 although the operator takes float64. */
  readonly float32Because?: string;
  /** The operator reads its one input twice. */
  readonly same?: boolean;
}

/**
 * `smooth`: uniform in ±1. `small`: in ±0.5. `positive`: in 0.5…1.5. `large`: in 1.5…2.5. `apart`: a shuffle of distinct odd
 * multiples of 0.05, so that nothing lies near another element, a multiple of 0.1 or 0 (kinks).
 */
export type CaseValues = 'smooth' | 'small' | 'positive' | 'large' | 'apart';
