import { floatAttribute, stringAttribute } from '../../onnx/graph.js';
import type { Expressions, Value } from '../expressions.js';
import { type Gradient, plain, scaleBy, withValue } from '../gradient.js';
import type { OperatorRule, RuleContext } from '../rule.js';

/** Elementwise operators of one input x with output y: dx = g · dy/dx. */

/** A rule whose slope is a value computed from x and y. */
function slope(of: (e: Expressions, x: Value, y: Value, c: RuleContext) => Value, by = 1): OperatorRule {
  return {
    inputs: [0],
    vjp: (c) => {
      const g = c.scaled();
      const value = c.e.mul(g.value, of(c.e, c.input(0), c.output(), c));
      return [scaleBy(withValue(g, value), by)];
    },
  };
}

/** A rule that keeps g where a condition holds and is 0 elsewhere. */
function mask(condition: (e: Expressions, x: Value, y: Value) => Value): OperatorRule {
  return {
    inputs: [0],
    vjp: (c) => {
      const g = c.scaled();
      const y = c.output();
      return [withValue(g, c.e.where(condition(c.e, c.input(0), y), g.value, c.e.uniform(0, y.type)))];
    },
  };
}

/** A rule that passes g on, changed only by waiting factors. */
function passing(change: (g: Gradient) => Gradient): OperatorRule {
  return { inputs: [0], vjp: (c) => [change(c.scaled())] };
}

/** y = max(x, 0) + alpha · min(x, 0). */
function leakyRelu(c: RuleContext): readonly Gradient[] {
  const { e } = c;
  const x = c.input(0);
  const alpha = e.uniform(floatAttribute(c.node, 'alpha', 0.01), x.type);
  const positive = e.compare('Greater', x, e.uniform(0, x.type));
  return [withValue(c.scaled(), e.mul(c.scaled().value, e.where(positive, e.uniform(1, x.type), alpha)))];
}

/** Exact GELU, y = x·Φ(x): dy/dx = Φ(x) + x·φ(x), Φ(x) = (1 + erf(x/√2))/2, φ(x) = exp(−x²/2)/√(2π) (Hendrycks & Gimpel 2016). */
function exactGelu(e: Expressions, x: Value): Value {
  const number = (value: number) => e.uniform(value, x.type);
  const error = e.unary('Erf', e.mul(x, number(Math.SQRT1_2)));
  const cumulative = e.mul(e.add(error, number(1)), number(0.5));
  const density = e.unary('Exp', e.mul(e.mul(x, x), number(-0.5)));
  return e.add(cumulative, e.mul(e.mul(x, density), number(1 / Math.sqrt(2 * Math.PI))));
}

/** Tanh GELU, y = x/2·(1 + t), t = tanh(u), u = √(2/π)·(x + 0.044715·x³): dy/dx = (1 + t)/2 + x/2·(1 − t²)·du/dx. */
function tanhGelu(e: Expressions, x: Value): Value {
  const number = (value: number) => e.uniform(value, x.type);
  const root = Math.sqrt(2 / Math.PI);
  const square = e.mul(x, x);
  const cubic = e.add(e.mul(square, number(0.044715 * root)), number(root));
  const t = e.unary('Tanh', e.mul(x, cubic));
  const du = e.add(e.mul(square, number(3 * 0.044715 * root)), number(root));
  const bend = e.mul(e.mul(x, du), e.sub(number(1), e.mul(t, t)));
  return e.mul(e.add(e.add(t, number(1)), bend), number(0.5));
}

export const ACTIVATION_RULES: Readonly<Record<string, OperatorRule>> = {
  Identity: passing((g) => g),
  Neg: passing((g) => scaleBy(g, -1)),
  /** Straight-through estimator (Bengio et al. 2013): the gradient ignores the rounding. */
  Round: passing((g) => g),
  /** Inside the bounds, bounds included: y equals x exactly there. Bounds themselves get no gradient. */
  Clip: mask((e, x, y) => e.compare('Equal', x, y)),
  Relu: mask((e, x) => e.compare('Greater', x, e.uniform(0, x.type))),
  LeakyRelu: { inputs: [0], vjp: leakyRelu },
  Abs: slope((e, x) => e.unary('Sign', x)),
  Exp: slope((_, __, y) => y),
  Log: { inputs: [0], vjp: (c) => [withValue(c.scaled(), c.e.div(c.scaled().value, c.input(0)))] },
  /** dy/dx = 1/(2·y). */
  Sqrt: { inputs: [0], vjp: (c) => [scaleBy(withValue(c.scaled(), c.e.div(c.scaled().value, c.output())), 0.5)] },
  /** dy/dx = −y². */
  Reciprocal: slope((e, _, y) => e.mul(y, y), -1),
  Sin: slope((e, x) => e.unary('Cos', x)),
  Cos: slope((e, x) => e.unary('Sin', x), -1),
  Tanh: slope((e, _, y) => e.sub(e.uniform(1, y.type), e.mul(y, y))),
  Sigmoid: slope((e, _, y) => e.sub(y, e.mul(y, y))),
  /** dy/dx = 2/√π · exp(−x²). */
  Erf: slope((e, x) => e.unary('Exp', e.unary('Neg', e.mul(x, x))), 2 / Math.sqrt(Math.PI)),
  Gelu: slope((e, x, _, c) =>
    stringAttribute(c.node, 'approximate', 'none') === 'tanh' ? tanhGelu(e, x) : exactGelu(e, x),
  ),
  Cast: { inputs: [0], vjp: (c) => [plain(c.e.cast(c.gradient(), c.input(0).type))] },
};
