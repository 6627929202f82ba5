import { floatAttribute, intAttribute } from '../../onnx/graph.js';
import { elementCount } from '../../tensors/tensor.js';
import type { Value } from '../expressions.js';
import { plain, scaleBy, unbroadcast } from '../gradient.js';
import type { Contributions, OperatorRule, RuleContext } from '../rule.js';

/**
 * Y = A·B over the last two axes, with numpy's broadcasting of the others: dA = g·Bᵀ, dB = Aᵀ·g. With a matrix B (a linear
 * layer) the rows of all batches are one long matrix, so dB is a single product. onnxruntime fuses the transposes.
 */
function matMul(c: RuleContext): Contributions {
  const { e } = c;
  const [a, b] = [asMatrix(c, 0), asMatrix(c, 1)];
  const y = [...c.output().dims];
  if (c.input(0).dims.length === 1) y.splice(c.input(1).dims.length === 1 ? y.length : y.length - 1, 0, 1);
  if (c.input(1).dims.length === 1) y.push(1);
  const g = e.reshape(c.gradient(), y);
  const toA = () => {
    const part = e.matMul(g, e.transposeLast(b));
    return e.reshape(summed(c, part, a.dims), c.input(0).dims);
  };
  const toB = () => {
    if (b.dims.length > 2) return e.reshape(summed(c, e.matMul(e.transposeLast(a), g), b.dims), c.input(1).dims);
    const rows = (value: Value) => e.reshape(value, [elementCount(value.dims.slice(0, -1)), value.dims.at(-1) ?? 1]);
    return e.reshape(e.gemm(rows(a), rows(g), { transA: true }), c.input(1).dims);
  };
  return [c.wants(0) ? toA() : undefined, c.wants(1) ? toB() : undefined];
}

/** A vector operand as the row (left) or column (right) it stands for. */
function asMatrix(c: RuleContext, index: 0 | 1): Value {
  const value = c.input(index);
  const [size] = value.dims;
  if (value.dims.length !== 1 || size === undefined) return value;
  return c.e.reshape(value, index === 0 ? [1, size] : [size, 1]);
}

function summed(c: RuleContext, value: Value, dims: readonly number[]): Value {
  return c.e.reshape(unbroadcast(c.e, plain(value), dims, value.dims).value, dims);
}

/** Y = alpha·A'·B' + beta·C, primes for optional transposes. */
function gemm(c: RuleContext): Contributions {
  const { e } = c;
  const transA = intAttribute(c.node, 'transA', 0) !== 0;
  const transB = intAttribute(c.node, 'transB', 0) !== 0;
  const alpha = floatAttribute(c.node, 'alpha', 1);
  const [a, b] = [c.input(0), c.input(1)];
  const toA = () => {
    const g = c.gradient();
    return transA ? e.gemm(b, g, { alpha, transA: transB, transB: true }) : e.gemm(g, b, { alpha, transB: !transB });
  };
  const toB = () => {
    const g = c.gradient();
    return transB ? e.gemm(g, a, { alpha, transA: true, transB: transA }) : e.gemm(a, g, { alpha, transA: !transA });
  };
  const toC = () => {
    const scaled = scaleBy(c.scaled(), floatAttribute(c.node, 'beta', 1));
    return unbroadcast(e, scaled, c.input(2).dims, c.output().dims);
  };
  return [c.wants(0) ? toA() : undefined, c.wants(1) ? toB() : undefined, c.wants(2) ? toC() : undefined];
}

export const PRODUCT_RULES: Readonly<Record<string, OperatorRule>> = {
  MatMul: { inputs: 'all', vjp: matMul },
  Gemm: { inputs: 'all', vjp: gemm },
};
