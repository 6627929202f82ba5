import { attribute, floatAttribute, intAttribute, intsAttribute, stringAttribute } from '../../onnx/graph.js';
import type { Value } from '../expressions.js';
import { unbroadcast } from '../gradient.js';
import { type Contributions, normalizedAxis, type OperatorRule, type RuleContext } from '../rule.js';
import { PAD_SOURCES, padMatrix, resizeMatrix, transposedAlong, unknownResize } from './resampling.js';

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
    return e.split(g, sizes, axis);
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

/** Copies past the border (reflect, edge, wrap) add up; constants are cut off; negative pads had cut elements off. */
function padded(c: RuleContext): Contributions {
  const { e } = c;
  const dims = c.input(0).dims;
  const pads = c.integers(1) ?? [];
  const axes = (c.integers(3) ?? dims.map((_, axis) => axis)).map((axis) => normalizedAxis(axis, dims.length));
  const mode = stringAttribute(c.node, 'mode', 'constant');
  const spans = axes.map((axis, index) => {
    return { axis, size: dims[axis] ?? 1, before: pads[index] ?? 0, after: pads[index + axes.length] ?? 0 };
  });
  let g = c.gradient();
  if (mode === 'constant') {
    const inner = spans.map(({ axis, before, after }) => {
      return { axis, start: Math.max(0, before), end: (g.dims[axis] ?? 1) - Math.max(0, after) };
    });
    const cut = (sizes: (span: (typeof spans)[number]) => number) =>
      dims.map((_, axis) => Math.max(0, ...spans.filter((span) => span.axis === axis).map(sizes)));
    const back = e.slice(g, inner);
    return [
      e.pad(
        back,
        cut((span) => -span.before),
        cut((span) => -span.after),
      ),
    ];
  }
  for (const { axis, size, before, after } of spans) {
    if (before !== 0 || after !== 0) g = transposedAlong(e, g, axis, padMatrix(mode, size, before, after));
  }
  return [g];
}

/** Copies side by side along each axis add up. */
function tiled(c: RuleContext): Contributions {
  const dims = c.input(0).dims;
  const repeats = c.integers(1) ?? [];
  const wide = dims.flatMap((dim, axis) => [repeats[axis] ?? 1, dim]);
  const axes = dims.map((_, axis) => 2 * axis).filter((axis) => wide[axis] !== 1);
  return [c.e.reshape(c.e.reduceSum(c.e.reshape(c.gradient(), wide), axes), dims)];
}

/** One triangle of the last two axes, as forward. */
function triangle(c: RuleContext): Contributions {
  const g = c.gradient();
  const upper = attribute.int(intAttribute(c.node, 'upper', 1));
  const diagonal = c.hasInput(1) ? [c.input(1)] : [];
  return [c.e.emit('Trilu', [g, ...diagonal], g.dims, { attributes: { upper } })];
}

/** Nearest upsampling by integer factors is a sum over copies; anything else goes back by the transposed matrices. */
function resized(c: RuleContext): Contributions {
  const { e, node } = c;
  const [dims, g] = [c.input(0).dims, c.gradient()];
  const factors = dims.map((dim, axis) => (g.dims[axis] ?? 1) / dim);
  const channelsStay = dims.length >= 3 && factors[0] === 1 && factors[1] === 1;
  if (g.type === 'float32' && channelsStay && copiesWhole(node) && factors.every(Number.isInteger)) {
    const window = attribute.ints(factors.slice(2));
    const pooled = e.emit('AveragePool', [g], dims, { attributes: { kernel_shape: window, strides: window } });
    return [{ value: pooled, by: factors.reduce((product, factor) => product * factor, 1), times: [], over: [] }];
  }
  const scales = scalesOf(c, factors);
  let back = g;
  for (const [axis, from] of dims.entries()) {
    const [to, scale] = [g.dims[axis] ?? 1, scales[axis] ?? 1];
    if (to === from && scale === 1) continue;
    back = transposedAlong(e, back, axis, resizeMatrix({ ...resamplingOf(node), from, to, scale }));
  }
  return [back];
}

/** The scale of each axis: as given, or as the sizes say. */
function scalesOf(c: RuleContext, factors: readonly number[]): number[] {
  const given = c.hasInput(2) ? Array.from(c.constantOf(c.node.inputs[2] ?? '')?.data ?? [], Number) : [];
  if (given.length === 0) return factors.map(Math.fround);
  const rank = factors.length;
  const axes =
    intsAttribute(c.node, 'axes')?.map((axis) => normalizedAxis(axis, rank)) ?? factors.map((_, axis) => axis);
  return factors.map((_, axis) => (axes.includes(axis) ? (given[axes.indexOf(axis)] ?? 1) : 1));
}

function resamplingOf(node: RuleContext['node']) {
  return {
    mode: stringAttribute(node, 'mode', 'nearest'),
    coordinates: stringAttribute(node, 'coordinate_transformation_mode', 'half_pixel'),
    rounding: stringAttribute(node, 'nearest_mode', 'round_prefer_floor'),
    cubicCoefficient: floatAttribute(node, 'cubic_coeff_a', -0.75),
    excludesOutside: intAttribute(node, 'exclude_outside', 0) === 1,
  };
}

/** Copies out[i] = in[⌊i / factor⌋] for integer factors: floor with asymmetric, any rounding with half_pixel. */
function copiesWhole(node: RuleContext['node']): boolean {
  const { mode, coordinates, rounding } = resamplingOf(node);
  const floors = coordinates === 'asymmetric' && rounding === 'floor';
  const centred = coordinates.startsWith('half_pixel') && rounding.startsWith('round');
  return mode === 'nearest' && (floors || centred);
}

function refusesResize(node: RuleContext['node']): string | undefined {
  return intAttribute(node, 'antialias', 0) === 1 ? 'antialias' : unknownResize(node);
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
  Split: { inputs: [0], outputs: 'all', vjp: split },
  Slice: { inputs: [0], vjp: sliced },
  Pad: {
    inputs: [0],
    vjp: padded,
    refuses: (node, constantOf) => {
      const mode = stringAttribute(node, 'mode', 'constant');
      if (mode === 'constant') return undefined;
      if (PAD_SOURCES[mode] === undefined) return `mode ${mode}`;
      const negative = Array.from(constantOf(node.inputs[1] ?? '')?.data ?? [], Number).some((pad) => pad < 0);
      return negative ? `negative pads in mode ${mode}` : undefined;
    },
  },
  Tile: { inputs: [0], vjp: tiled },
  Trilu: { inputs: [0], vjp: triangle },
  /** Scales and sizes are shapes. */
  Resize: { inputs: [0], flatInputs: [1, 2, 3], vjp: resized, refuses: refusesResize },
  DepthToSpace: { inputs: [0], vjp: depthToSpace },
  SpaceToDepth: {
    inputs: [0],
    vjp: (c) => {
      const blocksize = attribute.int(intAttribute(c.node, 'blocksize', 1));
      return [c.e.emit('DepthToSpace', [c.gradient()], c.input(0).dims, { attributes: { blocksize } })];
    },
  },
};
