import { floatAttribute, intAttribute, type Node } from '../../onnx/graph.js';
import { int64 } from '../../tensors/tensor.js';
import type { Expressions, Value } from '../expressions.js';
import { plain, unbroadcast } from '../gradient.js';
import type { Contributions, OperatorRule, RuleContext } from '../rule.js';

/**
 * The fused Attention operator (opset 23), Y = P·V with P = softmax(S), S = s·Q·Kᵀ + mask (Vaswani et al. 2017). The probabilities
 * are computed again, then
 *   dV = Pᵀ·g    dP = g·Vᵀ    dS = P · (dP − Σ dP·P)    dQ = s·dS·K    dK = s·dSᵀ·Q    dmask = dS
 * Inputs are [batch, heads, length, size], or [batch, length, heads · size]. With fewer heads of keys and values than of queries,
 * each serves a group of queries, and its gradients add up.
 */
interface Heads {
  readonly batch: number;
  /** Heads of keys and values. */
  readonly heads: number;
  /** Heads of queries for each of them. */
  readonly group: number;
}

function attention(c: RuleContext): Contributions {
  const { e } = c;
  const heads = headsOf(c);
  const [q, k, v] = [grouped(c, 0, heads, heads.group), grouped(c, 1, heads, 1), grouped(c, 2, heads, 1)];
  const size = q.dims.at(-1) ?? 1;
  const scale = e.uniform(floatAttribute(c.node, 'scale', 0) || 1 / Math.sqrt(size), q.type);
  const p = probabilities(c, e.mul(e.matMul(q, e.transposeLast(k)), scale), heads);
  const g = split(e, c.gradient(), c.output().dims, heads, heads.group);
  const toScores = e.matMul(g, e.transposeLast(v));
  const scores = e.mul(p, e.sub(toScores, e.reduceSum(e.mul(toScores, p), [4])));
  const scaled = e.mul(scores, scale);
  const back = (part: Value, like: Value, index: number) => {
    const sum = unbroadcast(e, plain(part), like.dims, part.dims).value;
    return joined(e, e.reshape(sum, like.dims), c.input(index).dims);
  };
  return [
    c.wants(0) ? back(e.matMul(scaled, k), q, 0) : undefined,
    c.wants(1) ? back(e.matMul(e.transposeLast(scaled), q), k, 1) : undefined,
    c.wants(2) ? back(e.matMul(e.transposeLast(p), g), v, 2) : undefined,
    c.wants(3) ? toMask(c, scores, heads) : undefined,
  ];
}

function headsOf(c: RuleContext): Heads {
  const [q, k] = [c.input(0).dims, c.input(1).dims];
  const queries = q.length === 4 ? (q[1] ?? 1) : intAttribute(c.node, 'q_num_heads', 1);
  const heads = k.length === 4 ? (k[1] ?? 1) : intAttribute(c.node, 'kv_num_heads', 1);
  return { batch: q[0] ?? 1, heads, group: queries / heads };
}

/** An input as [batch, heads, group, length, size]. */
function grouped(c: RuleContext, index: number, heads: Heads, group: number): Value {
  const value = c.input(index);
  return split(c.e, value, value.dims, heads, group);
}

function split(e: Expressions, value: Value, dims: readonly number[], { batch, heads }: Heads, group: number): Value {
  if (dims.length === 4) return e.reshape(value, [batch, heads, group, dims[2] ?? 1, dims[3] ?? 1]);
  const [, length = 1, width = 1] = dims;
  const apart = e.reshape(value, [batch, length, heads, group, width / (heads * group)]);
  return e.transpose(apart, [0, 2, 3, 1, 4]);
}

/** [batch, heads, group, length, size] in the dims of the input. */
function joined(e: Expressions, value: Value, dims: readonly number[]): Value {
  return e.reshape(dims.length === 4 ? value : e.transpose(value, [0, 3, 1, 2, 4]), dims);
}

/** softmax(scores + mask); masked scores count nothing. */
function probabilities(c: RuleContext, scores: Value, heads: Heads): Value {
  const { e } = c;
  const minusInfinity = e.uniform(Number.NEGATIVE_INFINITY, scores.type);
  let masked = scores;
  if (c.hasInput(3)) {
    const mask = wideMask(e, c.input(3), heads);
    masked = mask.type === 'bool' ? e.where(mask, masked, minusInfinity) : e.add(masked, mask);
  }
  if (intAttribute(c.node, 'is_causal', 0) === 1) {
    const [rows = 1, columns = 1] = scores.dims.slice(3);
    masked = e.where(isPast(e, rows, columns), masked, minusInfinity);
  }
  const largest = e.reduceMax(masked, [4]);
  const powers = e.unary('Exp', e.sub(masked, largest));
  return e.div(powers, e.reduceSum(powers, [4]));
}

/** column ≤ row. */
function isPast(e: Expressions, rows: number, columns: number): Value {
  const counting = (count: number, dims: readonly number[]) =>
    e.constant(
      `int64:counting:${dims.join('×')}`,
      int64(
        dims,
        Array.from({ length: count }, (_, index) => index),
      ),
    );
  return e.compare('LessOrEqual', counting(columns, [1, columns]), counting(rows, [rows, 1]));
}

/** A mask that broadcasts to [batch, heads, length, total], as one that broadcasts to the grouped scores. */
function wideMask(e: Expressions, mask: Value, { heads, group }: Heads): Value {
  const [batch = 1, count = 1, rows = 1, columns = 1] = [1, 1, 1, ...mask.dims].slice(-4);
  return e.reshape(mask, count === 1 ? [batch, 1, 1, rows, columns] : [batch, heads, group, rows, columns]);
}

function toMask(c: RuleContext, scores: Value, heads: Heads): Value {
  const mask = c.input(3);
  const wide = wideMask(c.e, mask, heads);
  return c.e.reshape(c.e.reshape(unbroadcast(c.e, plain(scores), wide.dims, scores.dims).value, wide.dims), mask.dims);
}

function refusesAttention(node: Node): string | undefined {
  if (floatAttribute(node, 'softcap', 0) !== 0) return 'softcap';
  const past = node.inputs.slice(4).some((input) => input !== '');
  return past ? 'a past of keys and values' : undefined;
}

export const ATTENTION_RULES: Readonly<Record<string, OperatorRule>> = {
  Attention: { inputs: [0, 1, 2, 3], vjp: attention, refuses: refusesAttention },
};
