import { attribute, intAttribute, intsAttribute } from '../../onnx/graph.js';
import { elementCount } from '../../tensors/tensor.js';
import type { Value } from '../expressions.js';
import { type Gradient, plain, scaleBy, withValue } from '../gradient.js';
import { normalizedAxis, type OperatorRule, type RuleContext } from '../rule.js';

/** Reductions over axes (an attribute, or input 1 in newer opsets). The gradient stays unexpanded: it broadcasts. */

function reducedAxes(c: RuleContext): number[] {
  const rank = c.input(0).dims.length;
  const axes = intsAttribute(c.node, 'axes') ?? c.integers(1) ?? [];
  if (axes.length > 0) return axes.map((axis) => normalizedAxis(axis, rank)).sort((a, b) => a - b);
  return intAttribute(c.node, 'noop_with_empty_axes', 0) === 1 ? [] : c.input(0).dims.map((_, axis) => axis);
}

/** A value of the output's dims with the reduced axes back as size 1. */
function kept(c: RuleContext, value: Value): Value {
  const axes = reducedAxes(c);
  return c.e.reshape(
    value,
    c.input(0).dims.map((dim, axis) => (axes.includes(axis) ? 1 : dim)),
  );
}

/** The gradient with the reduced axes back as size 1; a bare number stays one. */
function keptGradient(c: RuleContext): Gradient {
  const scaled = c.scaled();
  const bare = scaled.value.name === '' && scaled.times.length + scaled.over.length === 0;
  return bare ? scaled : plain(kept(c, c.gradient()));
}

/** Number of elements each output sums. */
function terms(c: RuleContext): number {
  return elementCount(reducedAxes(c).map((axis) => c.input(0).dims[axis] ?? 1));
}

/** y = extremum of x: g to where it was attained, in equal shares on a tie. */
function extremum(c: RuleContext): readonly Value[] {
  const { e } = c;
  const x = c.input(0);
  const attained = e.cast(e.compare('Equal', x, kept(c, c.output())), x.type);
  const share = e.div(kept(c, c.gradient()), e.reduceSum(attained, reducedAxes(c)));
  return [e.mul(attained, share)];
}

/** y = ‖x‖₂: dx = g · x / y; 0 where y = 0 (the subgradient that torch takes). */
function euclideanNorm(c: RuleContext): readonly Value[] {
  const { e } = c;
  const y = kept(c, c.output());
  const zero = e.uniform(0, y.type);
  const share = e.where(e.compare('Equal', y, zero), zero, e.div(kept(c, c.gradient()), y));
  return [e.mul(c.input(0), share)];
}

/**
 * y = ∏ x: dx_i = g · ∏_{j≠i} x_j. With z_i = [x_i = 0], P the product of the other elements and n = Σ z, that is P / x_i when
 * n = 0, P at the one zero when n = 1, and 0 otherwise.
 */
function productOfOthers(c: RuleContext): readonly Value[] {
  const { e } = c;
  const x = c.input(0);
  const axes = reducedAxes(c);
  const zero = e.uniform(0, x.type);
  const isZero = e.compare('Equal', x, zero);
  const zeros = e.cast(isZero, x.type);
  const safe = e.where(isZero, e.uniform(1, x.type), x);
  const others = e.div(e.mul(kept(c, c.gradient()), e.reduceProd(safe, axes)), safe);
  const isLast = e.compare('Equal', e.sub(e.reduceSum(zeros, axes), zeros), zero);
  return [e.where(isLast, others, zero)];
}

/** The axes a softmax runs over: one, or before opset 13 all from `axis` on (the older operator flattens them). */
function softmaxAxes(c: RuleContext): number[] {
  const rank = c.output().dims.length;
  const flattens = c.e.graph.opset < 13;
  const axis = normalizedAxis(intAttribute(c.node, 'axis', flattens ? 1 : -1), rank);
  return flattens ? Array.from({ length: rank - axis }, (_, index) => axis + index) : [axis];
}

/** y = softmax(x): dx = y · (g − Σ g·y). */
function softmax(c: RuleContext): readonly Value[] {
  const { e } = c;
  const y = c.output();
  const g = c.gradient();
  return [e.mul(y, e.sub(g, e.reduceSum(e.mul(g, y), softmaxAxes(c))))];
}

/** y = log softmax(x): dx = g − exp(y) · Σ g. */
function logSoftmax(c: RuleContext): readonly Value[] {
  const { e } = c;
  const g = c.gradient();
  return [e.sub(g, e.mul(e.unary('Exp', c.output()), e.reduceSum(g, softmaxAxes(c))))];
}

/** y = running sum along an axis: dx = the running sum of g from the other end. */
function runningSum(c: RuleContext): readonly Value[] {
  const { e, node } = c;
  const exclusive = attribute.int(intAttribute(node, 'exclusive', 0));
  const reverse = attribute.int(1 - intAttribute(node, 'reverse', 0));
  const g = c.gradient();
  return [e.emit('CumSum', [g, c.input(1)], g.dims, { attributes: { exclusive, reverse } })];
}

export const REDUCTION_RULES: Readonly<Record<string, OperatorRule>> = {
  ReduceSum: { inputs: [0], vjp: (c) => [keptGradient(c)] },
  ReduceMean: { inputs: [0], vjp: (c) => [scaleBy(keptGradient(c), 1 / terms(c))] },
  ReduceSumSquare: {
    inputs: [0],
    vjp: (c) => {
      const gradient = keptGradient(c);
      return [scaleBy(withValue(gradient, c.e.mul(gradient.value, c.input(0))), 2)];
    },
  },
  ReduceMax: { inputs: [0], vjp: extremum },
  ReduceMin: { inputs: [0], vjp: extremum },
  ReduceL1: {
    inputs: [0],
    vjp: (c) => {
      const gradient = keptGradient(c);
      return [withValue(gradient, c.e.mul(gradient.value, c.e.unary('Sign', c.input(0))))];
    },
  },
  ReduceL2: { inputs: [0], vjp: euclideanNorm },
  /** y = log Σ x: dx = g · exp(−y). */
  ReduceLogSum: {
    inputs: [0],
    vjp: (c) => [c.e.mul(kept(c, c.gradient()), c.e.unary('Exp', c.e.unary('Neg', kept(c, c.output()))))],
  },
  /** y = log Σ exp(x): dx = g · exp(x − y). */
  ReduceLogSumExp: {
    inputs: [0],
    vjp: (c) => [c.e.mul(kept(c, c.gradient()), c.e.unary('Exp', c.e.sub(c.input(0), kept(c, c.output()))))],
  },
  ReduceProd: { inputs: [0], vjp: productOfOthers },
  Softmax: { inputs: [0], vjp: softmax },
  LogSoftmax: { inputs: [0], vjp: logSoftmax },
  CumSum: { inputs: [0], vjp: runningSum },
};
