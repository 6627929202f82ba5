import { elementCount, type Tensor, zeros } from '../../tensors/tensor.js';
import { intAttribute, intsAttribute, type Node } from '../graph.js';
import { stridedIndices, stridesOf } from './broadcast.js';
import { largerBigint, likeFirst, smallerBigint } from './elementwise-rules.js';
import {
  dimAt,
  LARGEST_CONSTANT,
  normalizeAxis,
  type RuleContext,
  type ShapeRule,
  ShapeRuleError,
  type ValueFacts,
} from './shape-rule.js';

/** Reductions, arg-reductions and normalizations. */

/** The reduced axes: input 1 (newer opsets) or attribute `axes`; undefined when the node reduces nothing. */
function reducedAxes(context: RuleContext, rank: number): readonly number[] | undefined {
  const { node } = context;
  const declared = intsAttribute(node, 'axes') ?? (context.optional(1) === undefined ? [] : context.integers(1));
  if (declared.length > 0) return declared.map((axis) => normalizeAxis(axis, rank));
  return intAttribute(node, 'noop_with_empty_axes', 0) === 1
    ? undefined
    : Array.from({ length: rank }, (_, axis) => axis);
}

function reducedDims(dims: readonly number[], axes: readonly number[], keep: boolean): number[] {
  return dims.flatMap((dim, axis) => (axes.includes(axis) ? (keep ? [1] : []) : [dim]));
}

const reduce: ShapeRule = (context) => {
  const { type, dims, constant } = context.input(0);
  const axes = reducedAxes(context, dims.length);
  if (axes === undefined) return [{ type, dims, constant }];
  const out = reducedDims(dims, axes, intAttribute(context.node, 'keepdims', 1) === 1);
  return [{ type, dims: out, constant: reduceInt64(context.node, constant, axes, out) }];
};

const INT64_REDUCTIONS: Readonly<Record<string, (a: bigint, b: bigint) => bigint>> = {
  ReduceSum: (a, b) => a + b,
  ReduceProd: (a, b) => a * b,
  ReduceMax: largerBigint,
  ReduceMin: smallerBigint,
};

/** Reductions of shape values; other element types are not folded. */
function reduceInt64(
  node: Node,
  source: Tensor | undefined,
  axes: readonly number[],
  dims: number[],
): Tensor | undefined {
  const combine = INT64_REDUCTIONS[node.opType];
  if (combine === undefined || source?.type !== 'int64' || source.data.length > LARGEST_CONSTANT) return undefined;
  if (source.data.length === 0) return undefined;
  const values = source.data as BigInt64Array;
  const outer = stridesOf(source.dims.map((dim, axis) => (axes.includes(axis) ? 1 : dim)));
  const target = stridedIndices(
    source.dims,
    outer.map((stride, axis) => (axes.includes(axis) ? 0 : stride)),
  );
  const result = zeros('int64', dims);
  const seen = new Set<number>();
  for (const [index, value] of values.entries()) {
    const at = target[index] ?? 0;
    result.data[at] = seen.has(at) ? combine(result.data[at] ?? 0n, value) : value;
    seen.add(at);
  }
  return result;
}

const argReduce: ShapeRule = ({ node, input }) => {
  const { dims } = input(0);
  const axis = normalizeAxis(intAttribute(node, 'axis', 0), dims.length);
  return [{ type: 'int64', dims: reducedDims(dims, [axis], intAttribute(node, 'keepdims', 1) === 1) }];
};

/** Y, Mean and InvStdDev (both with the normalized axes as 1). */
const layerNormalization: ShapeRule = ({ node, input }) => {
  const { type, dims } = input(0);
  const axis = normalizeAxis(intAttribute(node, 'axis', -1), dims.length);
  const statistics: ValueFacts = { type: 'float32', dims: dims.map((dim, index) => (index < axis ? dim : 1)) };
  return [{ type, dims }, statistics, statistics];
};

/** In training mode also the running mean and variance. */
const batchNormalization: ShapeRule = ({ input }) => {
  const { type, dims } = input(0);
  const statistics: ValueFacts = { type: input(1).type, dims: [dimAt(dims, 1)] };
  return [{ type, dims }, statistics, statistics];
};

const topK: ShapeRule = (context) => {
  const { type, dims } = context.input(0);
  const axis = normalizeAxis(intAttribute(context.node, 'axis', -1), dims.length);
  const [count] = context.integers(1);
  if (count === undefined) throw new ShapeRuleError('has no k');
  const out = dims.with(axis, count);
  if (elementCount(out) > elementCount(dims))
    throw new ShapeRuleError(`asks for the ${count} largest of ${dims[axis]}`);
  return [
    { type, dims: out },
    { type: 'int64', dims: out },
  ];
};

const REDUCTIONS = ['Sum', 'Mean', 'Max', 'Min', 'Prod', 'L1', 'L2', 'LogSum', 'LogSumExp', 'SumSquare'];

export const REDUCTION_RULES: ReadonlyMap<string, ShapeRule> = new Map<string, ShapeRule>([
  ...REDUCTIONS.map((name): [string, ShapeRule] => [`Reduce${name}`, reduce]),
  ['ArgMax', argReduce],
  ['ArgMin', argReduce],
  ['TopK', topK],
  ['LayerNormalization', layerNormalization],
  ['RMSNormalization', likeFirst],
  ['InstanceNormalization', likeFirst],
  ['GroupNormalization', likeFirst],
  ['BatchNormalization', batchNormalization],
  ['LpNormalization', likeFirst],
  ['MeanVarianceNormalization', likeFirst],
  ['LRN', likeFirst],
]);
