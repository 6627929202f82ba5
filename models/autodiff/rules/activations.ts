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

/** A rule that keeps g where x is above a threshold and is 0 elsewhere. */
function thresholded(threshold: (c: RuleContext) => number): OperatorRule {
  return {
    inputs: [0],
    vjp: (c) => {
      const g = c.scaled();
      const x = c.input(0);
      const above = c.e.compare('Greater', x, c.e.uniform(threshold(c), x.type));
      return [withValue(g, c.e.where(above, g.value, c.e.uniform(0, x.type)))];
    },
  };
}

/** A rule that passes g on, changed only by waiting factors. */
function passing(change: (g: Gradient) => Gradient): OperatorRule {
  return { inputs: [0], vjp: (c) => [change(c.scaled())] };
}

/** A rule whose slope is `right` where x > 0 and `left` elsewhere. */
function bent(
  left: (e: Expressions, y: Value, c: RuleContext) => Value,
  right: (c: RuleContext) => number = () => 1,
): OperatorRule {
  return slope((e, x, y, c) => {
    const positive = e.compare('Greater', x, e.uniform(0, x.type));
    return e.where(positive, e.uniform(right(c), x.type), left(e, y, c));
  });
}

function alphaOf(c: RuleContext, fallback: number): number {
  return floatAttribute(c.node, 'alpha', fallback);
}

function plus(e: Expressions, a: Value, number: number): Value {
  return number === 0 ? a : e.add(a, e.uniform(number, a.type));
}

/** 1 − a. */
function oneMinus(e: Expressions, a: Value): Value {
  return e.sub(e.uniform(1, a.type), a);
}

/** 1/√a. */
function inverseRoot(e: Expressions, a: Value): Value {
  return e.unary('Reciprocal', e.unary('Sqrt', a));
}

/** Selu, y = γ·x for x > 0, γ·α·(exp(x) − 1) elsewhere (Klambauer et al. 2017); the defaults are ONNX's. */
const SELU = { alpha: 1.6732632423543772, gamma: 1.0507009873554805 };

function seluGamma(c: RuleContext): number {
  return floatAttribute(c.node, 'gamma', SELU.gamma);
}

/** Mish, y = x·t with t = tanh(softplus(x)): dy/dx = t + x·sigmoid(x)·(1 − t²) (Misra 2019). */
function mish(e: Expressions, x: Value): Value {
  const t = e.unary('Tanh', e.unary('Softplus', x));
  const inner = e.mul(e.mul(x, e.unary('Sigmoid', x)), oneMinus(e, e.mul(t, t)));
  return e.add(t, inner);
}

/** Swish, y = x·s with s = sigmoid(α·x): dy/dx = s + α·y·(1 − s). */
function swish(e: Expressions, x: Value, y: Value, c: RuleContext): Value {
  const alpha = e.uniform(alphaOf(c, 1), x.type);
  const s = e.unary('Sigmoid', e.mul(x, alpha));
  return e.add(s, e.mul(e.mul(y, alpha), oneMinus(e, s)));
}

/** 0 < h < 1 for an h that was cut to 0…1: h − h² is 0 at both ends and positive between. */
function between(e: Expressions, h: Value): Value {
  return e.compare('Greater', e.sub(h, e.mul(h, h)), e.uniform(0, h.type));
}

/** HardSwish, y = x·h with h = clip(x/6 + 1/2, 0, 1): dy/dx = h, and x/6 more where h is not cut. */
function hardSwish(e: Expressions, x: Value): Value {
  const sixth = e.mul(x, e.uniform(1 / 6, x.type));
  const [zero, one] = [e.uniform(0, x.type), e.uniform(1, x.type)];
  const h = e.emit('Clip', [plus(e, sixth, 0.5), zero, one], x.dims);
  return e.add(h, e.where(between(e, h), sixth, zero));
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

function castBack(c: RuleContext): readonly Gradient[] {
  return [plain(c.e.cast(c.gradient(), c.input(0).type))];
}

export const ACTIVATION_RULES: Readonly<Record<string, OperatorRule>> = {
  Identity: passing((g) => g),
  Neg: passing((g) => scaleBy(g, -1)),
  /** Straight-through estimator (Bengio et al. 2013): the gradient ignores the rounding. */
  Round: passing((g) => g),
  /** Inside the bounds, bounds included: y equals x exactly there. Bounds themselves get no gradient. */
  Clip: mask((e, x, y) => e.compare('Equal', x, y)),
  Relu: thresholded(() => 0),
  LeakyRelu: bent((e, y, c) => e.uniform(alphaOf(c, 0.01), y.type)),
  /** Left of 0, y = α·(exp(x) − 1): dy/dx = y + α. */
  Elu: bent((e, y, c) => plus(e, y, alphaOf(c, 1))),
  Selu: bent((e, y, c) => plus(e, y, seluGamma(c) * alphaOf(c, SELU.alpha)), seluGamma),
  /** Left of 0, y = α·(exp(x/α) − 1): dy/dx = y/α + 1. */
  Celu: bent((e, y, c) => plus(e, e.mul(y, e.uniform(1 / alphaOf(c, 1), y.type)), 1)),
  ThresholdedRelu: thresholded((c) => alphaOf(c, 1)),
  HardSigmoid: {
    inputs: [0],
    vjp: (c) => {
      const { e } = c;
      const g = c.scaled();
      const kept = e.where(between(e, c.output()), g.value, e.uniform(0, g.value.type));
      return [scaleBy(withValue(g, kept), alphaOf(c, 0.2))];
    },
  },
  HardSwish: slope(hardSwish),
  Mish: slope(mish),
  Swish: slope(swish),
  Softplus: slope((e, x) => e.unary('Sigmoid', x)),
  /** y = x/(1 + |x|): dy/dx = 1/(1 + |x|)². */
  Softsign: slope((e, x) => {
    const inverse = e.unary('Reciprocal', plus(e, e.unary('Abs', x), 1));
    return e.mul(inverse, inverse);
  }),
  Abs: slope((e, x) => e.unary('Sign', x)),
  Exp: slope((_, __, y) => y),
  Log: { inputs: [0], vjp: (c) => [withValue(c.scaled(), c.e.div(c.scaled().value, c.input(0)))] },
  /** dy/dx = 1/(2·y). */
  Sqrt: { inputs: [0], vjp: (c) => [scaleBy(withValue(c.scaled(), c.e.div(c.scaled().value, c.output())), 0.5)] },
  /** dy/dx = −y². */
  Reciprocal: slope((e, _, y) => e.mul(y, y), -1),
  Sin: slope((e, x) => e.unary('Cos', x)),
  Cos: slope((e, x) => e.unary('Sin', x), -1),
  /** dy/dx = 1 + y². */
  Tan: slope((e, _, y) => plus(e, e.mul(y, y), 1)),
  Asin: slope((e, x) => inverseRoot(e, oneMinus(e, e.mul(x, x)))),
  Acos: slope((e, x) => inverseRoot(e, oneMinus(e, e.mul(x, x))), -1),
  Atan: slope((e, x) => e.unary('Reciprocal', plus(e, e.mul(x, x), 1))),
  Sinh: slope((e, x) => e.unary('Cosh', x)),
  Cosh: slope((e, x) => e.unary('Sinh', x)),
  Asinh: slope((e, x) => inverseRoot(e, plus(e, e.mul(x, x), 1))),
  Acosh: slope((e, x) => inverseRoot(e, plus(e, e.mul(x, x), -1))),
  Atanh: slope((e, x) => e.unary('Reciprocal', oneMinus(e, e.mul(x, x)))),
  Tanh: slope((e, _, y) => oneMinus(e, e.mul(y, y))),
  Sigmoid: slope((e, _, y) => e.sub(y, e.mul(y, y))),
  /** dy/dx = 2/√π · exp(−x²). */
  Erf: slope((e, x) => e.unary('Exp', e.unary('Neg', e.mul(x, x))), 2 / Math.sqrt(Math.PI)),
  Gelu: slope((e, x, _, c) =>
    stringAttribute(c.node, 'approximate', 'none') === 'tanh' ? tanhGelu(e, x) : exactGelu(e, x),
  ),
  Cast: { inputs: [0], vjp: castBack },
  CastLike: { inputs: [0], flatInputs: [1], vjp: castBack },
  /** Inference only: the output is the input. */
  Dropout: {
    inputs: [0],
    flatOutputs: [1],
    vjp: (c) => [c.scaled()],
    refuses: (node, constantOf) => {
      const training = node.inputs[2] ?? '';
      return training !== '' && constantOf(training)?.data[0] !== 0 ? 'training_mode' : undefined;
    },
  },
};
