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

/** y = max(a, b) or min(a, b): g to the one that was taken, a tie to the first. */
function extremum(comparison: 'GreaterOrEqual' | 'LessOrEqual') {
  return (c: RuleContext): Contributions => {
    if (c.node.inputs.length === 1) return [c.scaled()];
    const { e } = c;
    const zero = e.uniform(0, c.output().type);
    const first = e.compare(comparison, c.input(0), c.input(1));
    const g = c.scaled();
    return [
      c.wants(0) ? to(c, 0, withValue(g, e.where(first, g.value, zero))) : undefined,
      c.wants(1) ? to(c, 1, withValue(g, e.where(first, zero, g.value))) : undefined,
    ];
  };
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

/** y = a ^ p with one constant exponent: g · p · a^(p−1). */
function power(c: RuleContext): Contributions {
  const { e } = c;
  const a = c.input(0);
  const exponent = c.input(1).uniform;
  if (exponent === undefined) throw new RangeError(`${c.node.name}: the exponent must be one constant`);
  const slope = exponent === 2 ? a : e.emit('Pow', [a, e.uniform(exponent - 1, a.type)], a.dims);
  const gradient = exponent === 1 ? c.scaled() : withValue(c.scaled(), e.mul(c.scaled().value, slope));
  return [unbroadcast(e, scaleBy(gradient, exponent), a.dims, c.output().dims)];
}

function to(c: RuleContext, index: number, gradient: Gradient): Gradient | undefined {
  if (!c.wants(index)) return undefined;
  return unbroadcast(c.e, gradient, c.input(index).dims, c.output().dims);
}

const atMostTwo: OperatorRule['refuses'] = (node) =>
  node.inputs.length > 2 ? `${node.inputs.length} inputs (at most 2)` : undefined;

export const ARITHMETIC_RULES: Readonly<Record<string, OperatorRule>> = {
  Add: { inputs: 'all', vjp: sum },
  Sum: { inputs: 'all', vjp: sum },
  Sub: { inputs: 'all', vjp: difference },
  Mul: { inputs: 'all', vjp: product },
  Div: { inputs: 'all', vjp: quotient },
  Max: { inputs: 'all', vjp: extremum('GreaterOrEqual'), refuses: atMostTwo },
  Min: { inputs: 'all', vjp: extremum('LessOrEqual'), refuses: atMostTwo },
  Where: { inputs: [1, 2], vjp: choice },
  Pow: {
    inputs: [0],
    vjp: power,
    refuses: (node, constantOf) => {
      const exponent = constantOf(node.inputs[1] ?? '');
      const equal =
        exponent !== undefined && Array.from(exponent.data, Number).every((p) => p === Number(exponent.data[0]));
      return equal ? undefined : 'an exponent that is not one constant';
    },
  },
};
