import { intAttribute, intsAttribute } from '../../onnx/graph.js';
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

/** y = softmax(x): dx = y · (g − Σ g·y). */
function softmax(c: RuleContext): readonly Value[] {
  const { e } = c;
  const y = c.output();
  const axis = normalizedAxis(intAttribute(c.node, 'axis', -1), y.dims.length);
  const g = c.gradient();
  return [e.mul(y, e.sub(g, e.reduceSum(e.mul(g, y), [axis])))];
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
  Softmax: { inputs: [0], vjp: softmax },
};
