import { isSmaller, type Value } from '../expressions.js';
import { dividedBy, type Gradient, scaleBy, times, unbroadcast, unbroadcastProduct, withValue } from '../gradient.js';
import type { Contributions, OperatorRule, RuleContext } from '../rule.js';

/** Elementwise operators of several inputs, with ONNX broadcasting. g is the gradient of the output y. */

/** y = Σ inputs: g to each. */
function sum(c: RuleContext): Contributions {
  return c.node.inputs.map((_, index) => to(c, index, c.scaled()));
}

/** y = a − b: g, −g. */
function difference(c: RuleContext): Contributions {
  return [to(c, 0, c.scaled()), to(c, 1, scaleBy(c.scaled(), -1))];
}

/** y = a · b: g·b, g·a; a² gives 2·g·a; a · sigmoid(a) has its own rule below. */
function product(c: RuleContext): Contributions {
  const [a, b] = [c.input(0), c.input(1)];
  if (a.name === b.name) return [scaleBy(withValue(c.scaled(), c.e.mul(c.scaled().value, a)), 2)];
  if (sigmoidOf(c, b) === a.name) return [siluGradient(c, b), undefined];
  if (sigmoidOf(c, a) === b.name) return [undefined, siluGradient(c, a)];
  return [c.wants(0) ? productPart(c, a, b) : undefined, c.wants(1) ? productPart(c, b, a) : undefined];
}

function productPart(c: RuleContext, part: Value, other: Value): Gradient {
  const dims = c.output().dims;
  if (isSmaller(other, dims) || other.uniform !== undefined) {
    return unbroadcast(c.e, times(c.scaled(), other), part.dims, dims);
  }
  return unbroadcastProduct(c.e, c.scaled(), other, part.dims, dims);
}

function sigmoidOf(c: RuleContext, value: Value): string | undefined {
  const producer = c.e.graph.producerOf(value.name);
  return producer?.opType === 'Sigmoid' ? producer.inputs[0] : undefined;
}

/** SiLU, y = x · s with s = sigmoid(x): dx = g · (s + y − y·s), four nodes instead of the six of its two operators. */
function siluGradient(c: RuleContext, sigmoid: Value): Gradient {
  const { e } = c;
  const y = c.output();
  const slope = e.add(sigmoid, e.sub(y, e.mul(y, sigmoid)));
  return withValue(c.scaled(), e.mul(c.scaled().value, slope));
}

/** y = a / b: g/b, −g·y/b. */
function quotient(c: RuleContext): Contributions {
  const { e } = c;
  const [a, b, y] = [c.input(0), c.input(1), c.output()];
  const small = isSmaller(b, y.dims) || b.uniform !== undefined;
  const toA = small ? dividedBy(c.scaled(), b) : withValue(c.scaled(), e.div(c.scaled().value, b));
  const over = small ? dividedBy(c.scaled(), b) : toA;
  return [
    c.wants(0) ? unbroadcast(e, toA, a.dims, y.dims) : undefined,
    c.wants(1) ? unbroadcastProduct(e, scaleBy(over, -1), y, b.dims, y.dims) : undefined,
  ];
}

/** y = max or min of the inputs: g to the one that was taken, a tie to the first. */
function extremum(comparison: 'GreaterOrEqual' | 'LessOrEqual') {
  return (c: RuleContext): Contributions => {
    const { e } = c;
    const count = c.node.inputs.length;
    if (count === 1) return [c.scaled()];
    const zero = e.uniform(0, c.output().type);
    let rest = c.scaled();
    return c.node.inputs.map((_, index) => {
      if (index === count - 1) return to(c, index, rest);
      const taken =
        count === 2 ? e.compare(comparison, c.input(0), c.input(1)) : e.compare('Equal', c.input(index), c.output());
      const part = c.wants(index) ? withValue(rest, e.where(taken, rest.value, zero)) : undefined;
      if (isWantedAfter(c, index)) rest = withValue(rest, e.where(taken, zero, rest.value));
      return part === undefined ? undefined : to(c, index, part);
    });
  };
}

function isWantedAfter(c: RuleContext, index: number): boolean {
  return c.node.inputs.some((_, later) => later > index && c.wants(later));
}

/** y = condition ? a : b. */
function choice(c: RuleContext): Contributions {
  const { e } = c;
  const zero = e.uniform(0, c.output().type);
  const g = c.scaled();
  return [
    undefined,
    c.wants(1) ? to(c, 1, withValue(g, e.where(c.input(0), g.value, zero))) : undefined,
    c.wants(2) ? to(c, 2, withValue(g, e.where(c.input(0), zero, g.value))) : undefined,
  ];
}

/** y = a ^ p: g · p · a^(p−1) to the base, g · y · ln a to the exponent (0 where a = 0, as its limit for p > 0). */
function power(c: RuleContext): Contributions {
  return [c.wants(0) ? baseGradient(c) : undefined, c.wants(1) ? exponentGradient(c) : undefined];
}

function baseGradient(c: RuleContext): Gradient | undefined {
  const { e } = c;
  const [a, y] = [c.input(0), c.output()];
  const exponent = oneExponent(c);
  if (exponent === 0) return undefined;
  if (exponent === undefined) {
    const p = e.cast(c.input(1), a.type);
    const less = e.emit('Pow', [a, e.sub(p, e.uniform(1, a.type))], y.dims);
    const isFlat = e.compare('Equal', p, e.uniform(0, a.type));
    const slope = e.where(isFlat, e.uniform(0, a.type), e.mul(p, less));
    return unbroadcast(e, withValue(c.scaled(), e.mul(c.scaled().value, slope)), a.dims, y.dims);
  }
  const slope = exponent === 2 ? a : e.emit('Pow', [a, e.uniform(exponent - 1, a.type)], a.dims);
  const gradient = exponent === 1 ? c.scaled() : withValue(c.scaled(), e.mul(c.scaled().value, slope));
  return unbroadcast(e, scaleBy(gradient, exponent), a.dims, y.dims);
}

/** The exponent when it is the same constant everywhere, of whatever number type. */
function oneExponent(c: RuleContext): number | undefined {
  const constant = c.constantOf(c.node.inputs[1] ?? '');
  if (constant === undefined || constant.type === 'float16') return undefined;
  const values = Array.from(constant.data, Number);
  return values.every((value) => value === values[0]) ? values[0] : undefined;
}

function exponentGradient(c: RuleContext): Gradient {
  const { e } = c;
  const [a, p, y] = [c.input(0), c.input(1), c.output()];
  const isZero = e.compare('Equal', a, e.uniform(0, a.type));
  const logarithm = e.unary('Log', e.where(isZero, e.uniform(1, a.type), a));
  const slope = e.cast(e.mul(y, logarithm), p.type);
  return unbroadcast(e, withValue(c.scaled(), e.mul(e.cast(c.scaled().value, p.type), slope)), p.dims, y.dims);
}

/** y = x for x > 0, slope · x elsewhere; the slope broadcasts to x. */
function parametricRelu(c: RuleContext): Contributions {
  const { e } = c;
  const [x, slope] = [c.input(0), c.input(1)];
  const g = c.scaled();
  const positive = e.compare('Greater', x, e.uniform(0, x.type));
  const toSlope = () => {
    const part = e.where(positive, e.uniform(0, x.type), e.mul(g.value, x));
    return unbroadcast(e, withValue(g, part), slope.dims, x.dims);
  };
  return [
    c.wants(0) ? withValue(g, e.mul(g.value, e.where(positive, e.uniform(1, x.type), slope))) : undefined,
    c.wants(1) ? toSlope() : undefined,
  ];
}

/** y = a − b · trunc(a / b) (fmod): g, and −g · trunc(a / b) = −g · (a − y)/b. */
function remainder(c: RuleContext): Contributions {
  const { e } = c;
  const [a, b, y] = [c.input(0), c.input(1), c.output()];
  const toB = () => {
    const quotientPart = e.div(e.sub(a, y), b);
    return unbroadcast(e, scaleBy(withValue(c.scaled(), e.mul(c.scaled().value, quotientPart)), -1), b.dims, y.dims);
  };
  return [to(c, 0, c.scaled()), c.wants(1) ? toB() : undefined];
}

function to(c: RuleContext, index: number, gradient: Gradient): Gradient | undefined {
  if (!c.wants(index)) return undefined;
  return unbroadcast(c.e, gradient, c.input(index).dims, c.output().dims);
}

export const ARITHMETIC_RULES: Readonly<Record<string, OperatorRule>> = {
  Add: { inputs: 'all', vjp: sum },
  Sum: { inputs: 'all', vjp: sum },
  Mean: {
    inputs: 'all',
    vjp: (c) => c.node.inputs.map((_, index) => to(c, index, scaleBy(c.scaled(), 1 / c.node.inputs.length))),
  },
  Sub: { inputs: 'all', vjp: difference },
  Mul: { inputs: 'all', vjp: product },
  Div: { inputs: 'all', vjp: quotient },
  Max: { inputs: 'all', vjp: extremum('GreaterOrEqual') },
  Min: { inputs: 'all', vjp: extremum('LessOrEqual') },
  Mod: { inputs: 'all', vjp: remainder },
  Where: { inputs: [1, 2], vjp: choice },
  Pow: { inputs: 'all', vjp: power },
  PRelu: { inputs: 'all', vjp: parametricRelu },
};
