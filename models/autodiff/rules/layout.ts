import { attribute, intAttribute, intsAttribute, stringAttribute } from '../../onnx/graph.js';
import type { Value } from '../expressions.js';
import { unbroadcast } from '../gradient.js';
import { type Contributions, normalizedAxis, type OperatorRule, type RuleContext } from '../rule.js';

/** Operators that move elements without computing: the gradient moves back. */

/** Anything that keeps the row-major order of elements. */
const reshaped: OperatorRule = { inputs: [0], vjp: (c) => [c.e.reshape(c.gradient(), c.input(0).dims)] };

function transposed(c: RuleContext): Contributions {
  const rank = c.input(0).dims.length;
  const permutation = intsAttribute(c.node, 'perm') ?? Array.from({ length: rank }, (_, axis) => rank - 1 - axis);
  const inverse = new Array<number>(rank).fill(0);
  permutation.forEach((from, to) => {
    inverse[from] = to;
  });
  return [c.e.transpose(c.gradient(), inverse)];
}

/** The part of g that each input became; one Split when several are wanted. */
function concatenated(c: RuleContext): Contributions {
  const { e, node } = c;
  const g = c.gradient();
  const axis = normalizedAxis(intAttribute(node, 'axis', 0), g.dims.length);
  const parts = node.inputs.map((_, index) => c.input(index).dims);
  const sizes = parts.map((dims) => dims[axis] ?? 1);
  if (parts.filter((_, index) => c.wants(index)).length > 1) {
    return e.emitAll('Split', [g, e.integers(sizes)], parts, { attributes: { axis: attribute.int(axis) } });
  }
  let start = 0;
  return sizes.map((size, index) => {
    start += size;
    return c.wants(index) ? e.slice(g, [{ axis, start: start - size, end: start }]) : undefined;
  });
}

/** The parts' gradients side by side, zeros for parts that lead nowhere. */
function split(c: RuleContext): Contributions {
  const { e, node } = c;
  const x = c.input(0);
  const axis = normalizedAxis(intAttribute(node, 'axis', 0), x.dims.length);
  const parts = node.outputs.map((_, index) =>
    c.hasGradient(index) ? c.gradient(index) : e.expand(e.uniform(0, x.type), c.output(index).dims),
  );
  return [e.concat(parts, axis)];
}

/** g at the chosen elements, zeros elsewhere: steps are spread out, then everything is padded at once. */
function sliced(c: RuleContext): Contributions {
  const { e } = c;
  const dims = c.input(0).dims;
  const [starts, ends] = [c.integers(1) ?? [], c.integers(2) ?? []];
  const axes = (c.integers(3) ?? starts.map((_, index) => index)).map((axis) => normalizedAxis(axis, dims.length));
  const steps = c.integers(4) ?? starts.map(() => 1);
  const before = dims.map(() => 0);
  const after = dims.map(() => 0);
  let g = c.gradient();
  axes.forEach((axis, index) => {
    const count = g.dims[axis] ?? 1;
    const range = normalizedRange(starts[index] ?? 0, ends[index] ?? 0, steps[index] ?? 1, dims[axis] ?? 1, count);
    if (range.reversed) g = e.reverse(g, [axis]);
    g = spread(c, g, axis, range.step);
    before[axis] = range.first;
    after[axis] = (dims[axis] ?? 1) - range.first - (g.dims[axis] ?? 1);
  });
  return [e.pad(g, before, after)];
}

/** First element and positive step of a slice of `count` elements out of `size`. */
function normalizedRange(start: number, _end: number, step: number, size: number, count: number) {
  const from = start < 0 ? start + size : start;
  if (step > 0) return { first: Math.min(Math.max(from, 0), size), step, reversed: false };
  const last = Math.min(Math.max(from, -1), size - 1);
  return { first: last + (count - 1) * step, step: -step, reversed: true };
}

/** step − 1 zeros between neighbours along an axis. */
function spread(c: RuleContext, g: Value, axis: number, step: number): Value {
  const count = g.dims[axis] ?? 1;
  if (step === 1 || count === 1) return g;
  const { e } = c;
  const dims = [...g.dims];
  dims.splice(axis, 1, count, 1);
  const zeros = dims.map((_, at) => (at === axis + 1 ? step - 1 : 0));
  const padded = e.pad(
    e.reshape(g, dims),
    dims.map(() => 0),
    zeros,
  );
  const flat = [...g.dims];
  flat[axis] = count * step;
  return e.slice(e.reshape(padded, flat), [{ axis, start: 0, end: (count - 1) * step + 1 }]);
}

/** The inner part of g. */
function padded(c: RuleContext): Contributions {
  const dims = c.input(0).dims;
  const pads = c.integers(1) ?? [];
  const axes = (c.integers(3) ?? dims.map((_, axis) => axis)).map((axis) => normalizedAxis(axis, dims.length));
  const ranges = axes.map((axis, index) => {
    const start = pads[index] ?? 0;
    return { axis, start, end: start + (dims[axis] ?? 1) };
  });
  return [c.e.slice(c.gradient(), ranges)];
}

/** Nearest upsampling by integer factors: the sum over the copies, computed as an average pool where there is one. */
function upsampled(c: RuleContext): Contributions {
  const { e } = c;
  const [dims, g] = [c.input(0).dims, c.gradient()];
  const factors = dims.map((dim, axis) => (g.dims[axis] ?? 1) / dim);
  if (factors.some((factor) => !Number.isInteger(factor))) {
    throw new RangeError(`${c.node.name}: Resize by [${factors.join(', ')}] is no integer upsampling`);
  }
  if (dims.length >= 3 && factors[0] === 1 && factors[1] === 1) {
    const window = attribute.ints(factors.slice(2));
    const pooled = e.emit('AveragePool', [g], dims, { attributes: { kernel_shape: window, strides: window } });
    return [{ value: pooled, by: factors.reduce((product, factor) => product * factor, 1), times: [], over: [] }];
  }
  const wide = dims.flatMap((dim, axis) => [dim, factors[axis] ?? 1]);
  return [
    e.reshape(
      e.reduceSum(
        e.reshape(g, wide),
        dims.map((_, axis) => 2 * axis + 1),
      ),
      dims,
    ),
  ];
}

/** Copies out[i] = in[⌊i / factor⌋] for integer factors: floor with asymmetric, any rounding with half_pixel. */
function refusesResize(node: RuleContext['node']): string | undefined {
  const mode = stringAttribute(node, 'mode', 'nearest');
  if (mode !== 'nearest') return `mode ${mode}`;
  const coordinates = stringAttribute(node, 'coordinate_transformation_mode', 'half_pixel');
  const rounding = stringAttribute(node, 'nearest_mode', 'round_prefer_floor');
  const floors = coordinates === 'asymmetric' && rounding === 'floor';
  const centred = coordinates.startsWith('half_pixel') && rounding.startsWith('round');
  return floors || centred ? undefined : `${coordinates} coordinates with nearest_mode ${rounding}`;
}

/**
 * [N, C·b², H, W] → [N, C, H·b, W·b], back as a permutation of blocks: channels were (b, b, C) in DCR order, (C, b, b) in CRD
 * order. (SpaceToDepth would be the inverse of DCR, but onnxruntime's WebGPU provider does not have it.)
 */
function depthToSpace(c: RuleContext): Contributions {
  const { e, node } = c;
  const [g, dims] = [c.gradient(), c.input(0).dims];
  const size = intAttribute(node, 'blocksize', 1);
  const [batch = 1, channels = 1, height = 1, width = 1] = dims;
  const blocks = e.reshape(g, [batch, channels / (size * size), height, size, width, size]);
  const order = stringAttribute(node, 'mode', 'DCR') === 'DCR' ? [0, 3, 5, 1, 2, 4] : [0, 1, 3, 5, 2, 4];
  return [e.reshape(e.transpose(blocks, order), dims)];
}

export const LAYOUT_RULES: Readonly<Record<string, OperatorRule>> = {
  Reshape: reshaped,
  Flatten: reshaped,
  Squeeze: reshaped,
  Unsqueeze: reshaped,
  Transpose: { inputs: [0], vjp: transposed },
  Expand: { inputs: [0], vjp: (c) => [unbroadcast(c.e, c.scaled(), c.input(0).dims, c.output().dims)] },
  Concat: { inputs: 'all', vjp: concatenated },
  Split: { inputs: [0], vjp: split },
  Slice: { inputs: [0], vjp: sliced },
  Pad: {
    inputs: [0],
    vjp: padded,
    refuses: (node, constantOf) => {
      const mode = stringAttribute(node, 'mode', 'constant');
      if (mode !== 'constant') return `mode ${mode}`;
      const negative = Array.from(constantOf(node.inputs[1] ?? '')?.data ?? [], Number).some((pad) => pad < 0);
      return negative ? 'negative pads' : undefined;
    },
  },
  Resize: { inputs: [0], vjp: upsampled, refuses: refusesResize },
  DepthToSpace: { inputs: [0], vjp: depthToSpace },
  SpaceToDepth: {
    inputs: [0],
    vjp: (c) => {
      const blocksize = attribute.int(intAttribute(c.node, 'blocksize', 1));
      return [c.e.emit('DepthToSpace', [c.gradient()], c.input(0).dims, { attributes: { blocksize } })];
    },
  },
};
