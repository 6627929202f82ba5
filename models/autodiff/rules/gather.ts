import { attribute, intAttribute } from '../../onnx/graph.js';
import { elementCount, tensor } from '../../tensors/tensor.js';
import type { Expressions, Value } from '../expressions.js';
import { type Contributions, normalizedAxis, type OperatorRule, type RuleContext } from '../rule.js';
import { flatRows } from './flat-rows.js';

/** Operators that pick elements by index: the gradients of equal picks add up. Nothing flows to the indices. */

/** Above this many elements of a one-hot matrix the gradient is scattered instead. */
const ONE_HOT_LIMIT = 1 << 22;

/** Scattering with addition came with this opset. */
const SCATTER_ADDS = 16;

/** y = rows of a table. One constant row goes back by padding. */
function gathered(c: RuleContext): Contributions {
  const { e } = c;
  const [data, indices] = [c.input(0), c.input(1)];
  const axis = normalizedAxis(intAttribute(c.node, 'axis', 0), data.dims.length);
  const rows = data.dims[axis] ?? 1;
  const known = c.constantOf(indices.name);
  const count = elementCount(indices.dims);
  if (known !== undefined && count === 1) {
    const at = normalizedAxis(Number(known.data[0]), rows);
    const g = e.reshape(
      c.gradient(),
      data.dims.map((dim, index) => (index === axis ? 1 : dim)),
    );
    const around = (zeros: number) => data.dims.map((_, index) => (index === axis ? zeros : 0));
    return [e.pad(g, around(at), around(rows - 1 - at))];
  }
  const outer = elementCount(data.dims.slice(0, axis));
  const inner = elementCount(data.dims.slice(axis + 1));
  const g = e.reshape(c.gradient(), [outer, count, inner]);
  const flat = e.cast(e.reshape(indices, [count]), 'int64');
  return [e.reshape(addedRows(e, g, flat, rows), data.dims)];
}

/**
 * [outer, count, inner] → [outer, rows, inner]: row r is the sum of the rows of g whose index is r. A small table multiplies
 * by the one-hot matrix of the indices, a plain product that adds in a fixed order; a large one uses ScatterElements.
 */
function addedRows(e: Expressions, g: Value, indices: Value, rows: number): Value {
  const count = g.dims[1] ?? 1;
  const isLarge = count * rows > ONE_HOT_LIMIT;
  return isLarge && e.graph.opset >= SCATTER_ADDS
    ? scatteredRows(e, g, indices, rows)
    : oneHotRows(e, g, indices, rows);
}

/** 1 at the index and 0 elsewhere, `depth` wide; the new axis is at `axis`. */
function oneHot(e: Expressions, indices: Value, depth: number, axis: number, like: Value): Value {
  // onnxruntime has OneHot for float32 only.
  const values = e.numbers('[0,1]', [2], [0, 1], 'float32');
  const size = e.constant(`int64:${depth}`, tensor('int64', [], BigInt64Array.of(BigInt(depth))));
  const options = { type: 'float32', attributes: { axis: attribute.int(axis) } } as const;
  return e.cast(e.emit('OneHot', [indices, size, values], indices.dims.toSpliced(axis, 0, depth), options), like.type);
}

function oneHotRows(e: Expressions, g: Value, indices: Value, rows: number): Value {
  const [outer = 1, count = 1, inner = 1] = g.dims;
  const choice = oneHot(e, indices, rows, 1, g);
  if (outer === 1) {
    const table = e.gemm(choice, e.reshape(g, [count, inner]), { transA: true });
    return e.reshape(table, [1, rows, inner]);
  }
  return e.matMul(e.transpose(choice, [1, 0]), g);
}

function scatteredRows(e: Expressions, g: Value, indices: Value, rows: number): Value {
  const [outer = 1, count = 1, inner = 1] = g.dims;
  const places = e.expand(e.reshape(indices, [1, count, 1]), g.dims);
  return addedElements(e, g, places, [outer, rows, inner], 1);
}

function addedElements(e: Expressions, g: Value, indices: Value, dims: readonly number[], axis: number): Value {
  const zeros = e.expand(e.uniform(0, g.type), dims);
  const attributes = { axis: attribute.int(axis), reduction: attribute.string('add') };
  return e.emit('ScatterElements', [zeros, indices, g], dims, { attributes });
}

/** y = one element of each line along an axis. Before opset 16 as a sum over one-hot lines. */
function gatheredElements(c: RuleContext): Contributions {
  const { e } = c;
  const [data, indices, g] = [c.input(0), c.input(1), c.gradient()];
  const axis = normalizedAxis(intAttribute(c.node, 'axis', 0), data.dims.length);
  if (e.graph.opset >= SCATTER_ADDS) return [addedElements(e, g, indices, data.dims, axis)];
  const choice = oneHot(e, indices, data.dims[axis] ?? 1, axis + 1, g);
  const lines = e.reduceSum(e.mul(choice, e.reshape(g, g.dims.toSpliced(axis + 1, 0, 1))), [axis]);
  const back = e.reshape(lines, choice.dims.toSpliced(axis, 1));
  const behind = data.dims.map((dim, at) => dim - (back.dims[at] ?? dim));
  return [
    e.pad(
      back,
      data.dims.map(() => 0),
      behind,
    ),
  ];
}

/** y = the blocks at index tuples: rows of a table once the tuples are flat. */
function gatheredTuples(c: RuleContext): Contributions {
  const { e } = c;
  const data = c.input(0);
  const { rows, indices, inner } = flatRows(e, data.dims, c.input(1), intAttribute(c.node, 'batch_dims', 0));
  const g = e.reshape(c.gradient(), [1, elementCount(indices.dims), inner]);
  return [e.reshape(addedRows(e, g, indices, rows), data.dims)];
}

/** The k largest elements: each goes back to where it came from. */
function largest(c: RuleContext): Contributions {
  const { e } = c;
  const [x, y] = [c.input(0), c.output()];
  const axis = normalizedAxis(intAttribute(c.node, 'axis', -1), x.dims.length);
  const indices = c.extraOutput(1, 'indices', y.dims, 'int64');
  const zeros = e.expand(e.uniform(0, x.type), x.dims);
  const attributes = { axis: attribute.int(axis) };
  return [e.emit('ScatterElements', [zeros, indices, c.gradient()], x.dims, { attributes })];
}

export const GATHER_RULES: Readonly<Record<string, OperatorRule>> = {
  Gather: { inputs: [0], vjp: gathered },
  GatherElements: { inputs: [0], vjp: gatheredElements },
  GatherND: { inputs: [0], vjp: gatheredTuples },
  TopK: { inputs: [0], flatOutputs: [1], vjp: largest },
};
