import { intAttribute, intsAttribute, stringAttribute } from '../graph.js';
import { broadcastDims } from './broadcast.js';
import { explicitEquation } from './einsum-equation.js';
import { dimAt, dimsText, type RuleContext, type ShapeRule, ShapeRuleError } from './shape-rule.js';

/** Matrix products, convolutions and pools. Layout N C D1 D2 …; formulas of onnx/docs/Operators.md. */

/** numpy matmul dims. */
export function matmulDims(a: readonly number[], b: readonly number[]): number[] {
  if (a.length === 0 || b.length === 0) throw new ShapeRuleError('multiplies a scalar as a matrix');
  const left = a.length === 1 ? [1, ...a] : a;
  const right = b.length === 1 ? [...b, 1] : b;
  if (left.at(-1) !== right.at(-2)) throw new ShapeRuleError(`matrices ${dimsText(a)} and ${dimsText(b)} do not fit`);
  const batch = broadcastDims(left.slice(0, -2), right.slice(0, -2));
  const rows = a.length === 1 ? [] : [dimAt(left, left.length - 2)];
  const columns = b.length === 1 ? [] : [dimAt(right, right.length - 1)];
  return [...batch, ...rows, ...columns];
}

const matmul: ShapeRule = ({ input }) => [{ type: input(0).type, dims: matmulDims(input(0).dims, input(1).dims) }];

const matmulInteger: ShapeRule = ({ input }) => [{ type: 'int32', dims: matmulDims(input(0).dims, input(1).dims) }];

const qlinearMatmul: ShapeRule = ({ input }) => [
  { type: input(7).type, dims: matmulDims(input(0).dims, input(3).dims) },
];

const gemm: ShapeRule = ({ node, input }) => {
  const a = intAttribute(node, 'transA', 0) === 1 ? [...input(0).dims].reverse() : input(0).dims;
  const b = intAttribute(node, 'transB', 0) === 1 ? [...input(1).dims].reverse() : input(1).dims;
  if (a.length !== 2 || b.length !== 2)
    throw new ShapeRuleError(`needs matrices, got ${dimsText(a)} and ${dimsText(b)}`);
  return [{ type: input(0).type, dims: matmulDims(a, b) }];
};

interface Window {
  readonly kernel: readonly number[];
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  /** Begins, then ends. */
  readonly pads: readonly number[];
}

function windowOf({ node }: RuleContext, kernel: readonly number[], spatial: readonly number[]): Window {
  const strides = intsAttribute(node, 'strides') ?? kernel.map(() => 1);
  const dilations = intsAttribute(node, 'dilations') ?? kernel.map(() => 1);
  const automatic = stringAttribute(node, 'auto_pad', 'NOTSET');
  if (automatic === 'NOTSET' || automatic === 'VALID') {
    const declared = automatic === 'VALID' ? undefined : intsAttribute(node, 'pads');
    return { kernel, strides, dilations, pads: declared ?? kernel.flatMap(() => [0, 0]) };
  }
  const totals = kernel.map((size, axis) => {
    const stride = strides[axis] ?? 1;
    const out = Math.ceil(dimAt(spatial, axis) / stride);
    return Math.max(0, (out - 1) * stride + (size - 1) * (dilations[axis] ?? 1) + 1 - dimAt(spatial, axis));
  });
  const small = totals.map((total) => Math.floor(total / 2));
  const large = totals.map((total) => Math.ceil(total / 2));
  return { kernel, strides, dilations, pads: automatic === 'SAME_UPPER' ? [...small, ...large] : [...large, ...small] };
}

function windowedDims(spatial: readonly number[], window: Window, ceil: boolean): number[] {
  return window.kernel.map((size, axis) => {
    const before = window.pads[axis] ?? 0;
    const after = window.pads[axis + window.kernel.length] ?? 0;
    const stride = window.strides[axis] ?? 1;
    const dim = dimAt(spatial, axis);
    const steps = (dim + before + after - (window.dilations[axis] ?? 1) * (size - 1) - 1) / stride;
    let count = (ceil ? Math.ceil(steps) : Math.floor(steps)) + 1;
    if (ceil && (count - 1) * stride >= dim + before) count -= 1;
    if (count < 1) throw new ShapeRuleError(`has a window larger than its input ${dimsText(spatial)}`);
    return count;
  });
}

function convDims(context: RuleContext, weightInput: number): number[] {
  const data = context.input(0).dims;
  const weight = context.input(weightInput).dims;
  const groups = intAttribute(context.node, 'group', 1);
  if (dimAt(data, 1) !== dimAt(weight, 1) * groups || weight.length !== data.length) {
    throw new ShapeRuleError(`input ${dimsText(data)} does not fit weight ${dimsText(weight)} in ${groups} groups`);
  }
  const spatial = data.slice(2);
  const window = windowOf(context, weight.slice(2), spatial);
  return [dimAt(data, 0), dimAt(weight, 0), ...windowedDims(spatial, window, false)];
}

const conv: ShapeRule = (context) => [{ type: context.input(0).type, dims: convDims(context, 1) }];
const convInteger: ShapeRule = (context) => [{ type: 'int32', dims: convDims(context, 1) }];
const qlinearConv: ShapeRule = (context) => [{ type: context.input(7).type, dims: convDims(context, 3) }];

const convTranspose: ShapeRule = (context) => {
  const { node, input } = context;
  const data = input(0).dims;
  const weight = input(1).dims;
  if (dimAt(data, 1) !== dimAt(weight, 0)) {
    throw new ShapeRuleError(`input ${dimsText(data)} does not fit weight ${dimsText(weight)}`);
  }
  const spatial = data.slice(2);
  const kernel = weight.slice(2);
  const strides = intsAttribute(node, 'strides') ?? kernel.map(() => 1);
  const dilations = intsAttribute(node, 'dilations') ?? kernel.map(() => 1);
  const extra = intsAttribute(node, 'output_padding') ?? kernel.map(() => 0);
  const pads = intsAttribute(node, 'pads') ?? kernel.flatMap(() => [0, 0]);
  const same = stringAttribute(node, 'auto_pad', 'NOTSET').startsWith('SAME');
  const declared = intsAttribute(node, 'output_shape')?.slice(-kernel.length);
  const out = kernel.map((size, axis) => {
    const stride = strides[axis] ?? 1;
    if (same) return dimAt(spatial, axis) * stride;
    const full = stride * (dimAt(spatial, axis) - 1) + (extra[axis] ?? 0) + (size - 1) * (dilations[axis] ?? 1) + 1;
    return full - (pads[axis] ?? 0) - (pads[axis + kernel.length] ?? 0);
  });
  const channels = dimAt(weight, 1) * intAttribute(node, 'group', 1);
  return [{ type: input(0).type, dims: [dimAt(data, 0), channels, ...(declared ?? out)] }];
};

/** MaxPool has a second output of the same dims: the indices. */
const pool: ShapeRule = (context) => {
  const { type, dims } = context.input(0);
  const spatial = dims.slice(2);
  const kernel = intsAttribute(context.node, 'kernel_shape') ?? [];
  if (kernel.length !== spatial.length) throw new ShapeRuleError('has a kernel_shape that does not fit its input');
  const ceil = intAttribute(context.node, 'ceil_mode', 0) === 1;
  const out = [...dims.slice(0, 2), ...windowedDims(spatial, windowOf(context, kernel, spatial), ceil)];
  return [
    { type, dims: out },
    { type: 'int64', dims: out },
  ];
};

const globalPool: ShapeRule = ({ input }) => [
  { type: input(0).type, dims: input(0).dims.map((dim, axis) => (axis < 2 ? dim : 1)) },
];

/** Every letter gets its size, the output lists letters; a size of 1 broadcasts. */
const einsum: ShapeRule = ({ node, input }) => {
  const operands = node.inputs.map((_, index) => input(index).dims);
  const equation = stringAttribute(node, 'equation', '');
  const { terms, output } = explicitEquation(
    equation,
    operands.map((dims) => dims.length),
  );
  const sizes = new Map<string, number>();
  for (const [index, term] of terms.entries()) {
    for (const [axis, letter] of [...term].entries()) {
      const [known, size] = [sizes.get(letter) ?? 1, dimAt(operands[index] ?? [], axis)];
      if (known !== 1 && size !== 1 && known !== size) {
        throw new ShapeRuleError(`equation ${equation} does not fit ${operands.map(dimsText).join(' and ')}`);
      }
      sizes.set(letter, Math.max(known, size));
    }
  }
  return [{ type: input(0).type, dims: [...output].map((letter) => sizes.get(letter) ?? 1) }];
};

/**
 * Attention of [batch, heads, length, size], or [batch, length, heads · size] with the numbers of heads as attributes. Further
 * outputs: keys and values with the past before them, and the products of queries and keys.
 */
const attention: ShapeRule = ({ node, input, optional }) => {
  const { type, dims } = input(0);
  const flat = dims.length === 3;
  const heads = (name: string, at: number) => {
    const of = input(at).dims;
    if (of.length === 4) return of;
    const count = intAttribute(node, name, 0);
    if (of.length !== 3 || count < 1) throw new ShapeRuleError(`has an input ${dimsText(of)} without ${name}`);
    return [dimAt(of, 0), count, dimAt(of, 1), dimAt(of, 2) / count];
  };
  const [q, k, v] = [heads('q_num_heads', 0), heads('kv_num_heads', 1), heads('kv_num_heads', 2)];
  const [batch, count, length] = [dimAt(q, 0), dimAt(q, 1), dimAt(q, 2)];
  const past = optional(4) === undefined ? 0 : dimAt(input(4).dims, 2);
  const total = past + dimAt(k, 2);
  const size = dimAt(v, 3);
  return [
    { type, dims: flat ? [batch, length, count * size] : [batch, count, length, size] },
    { type: input(1).type, dims: k.with(2, total) },
    { type: input(2).type, dims: v.with(2, total) },
    { type, dims: [batch, count, length, total] },
  ];
};

export const LINEAR_RULES: ReadonlyMap<string, ShapeRule> = new Map<string, ShapeRule>([
  ['MatMul', matmul],
  ['MatMulInteger', matmulInteger],
  ['QLinearMatMul', qlinearMatmul],
  ['Gemm', gemm],
  ['Conv', conv],
  ['ConvInteger', convInteger],
  ['QLinearConv', qlinearConv],
  ['ConvTranspose', convTranspose],
  ['MaxPool', pool],
  ['AveragePool', pool],
  ['LpPool', pool],
  ['GlobalAveragePool', globalPool],
  ['GlobalMaxPool', globalPool],
  ['Einsum', einsum],
  ['Attention', attention],
]);
