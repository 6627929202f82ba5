import { attribute, intAttribute } from '../../onnx/graph.js';
import { elementCount, float32, tensor } from '../../tensors/tensor.js';
import type { Value } from '../expressions.js';
import { type Contributions, normalizedAxis, type OperatorRule, type RuleContext } from '../rule.js';

/** Above this many elements of a one-hot matrix the gradient is scattered instead. */
const ONE_HOT_LIMIT = 1 << 22;

/**
 * y = rows of a table: the gradients of equal rows add up. A small table multiplies by the one-hot matrix of the indices,
 * which is a plain product and adds in a fixed order; a large one uses ScatterElements.
 */
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
  const table = count * rows <= ONE_HOT_LIMIT ? oneHot(c, g, flat, rows) : scattered(c, g, flat, rows);
  return [e.reshape(table, data.dims)];
}

/** [outer, count, inner] → [outer, rows, inner]. */
function oneHot(c: RuleContext, g: Value, indices: Value, rows: number): Value {
  const { e } = c;
  const [outer = 1, count = 1, inner = 1] = g.dims;
  const values = e.constant('float32:[0,1]', float32([2], [0, 1]));
  const depth = e.constant(`int64:${rows}`, tensor('int64', [], BigInt64Array.of(BigInt(rows))));
  const choice = e.emit('OneHot', [indices, depth, values], [count, rows], {
    type: 'float32',
    attributes: { axis: attribute.int(-1) },
  });
  if (outer === 1) return e.gemm(choice, e.reshape(g, [count, inner]), { transA: true });
  return e.matMul(e.transpose(choice, [1, 0]), g);
}

function scattered(c: RuleContext, g: Value, indices: Value, rows: number): Value {
  const { e } = c;
  const [outer = 1, count = 1, inner = 1] = g.dims;
  const dims = [outer, rows, inner];
  const places = e.expand(e.reshape(indices, [1, count, 1]), g.dims);
  return e.emit('ScatterElements', [e.expand(e.uniform(0, g.type), dims), places, g], dims, {
    attributes: { axis: attribute.int(1), reduction: attribute.string('add') },
  });
}

export const GATHER_RULES: Readonly<Record<string, OperatorRule>> = { Gather: { inputs: [0], vjp: gathered } };
