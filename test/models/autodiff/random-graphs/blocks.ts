import { attribute } from '../../../../models/onnx/graph.js';
import { elementCount, float32 } from '../../../../models/tensors/tensor.js';
import { floatTensor } from '../central-differences.js';
import type { GraphBuilder, RandomValue } from './graph-builder.js';

/**
 * How a random graph uses each operator. `domain` is where the operator's input is put first: `wave` sin x, `small` sin(x)/2,
 * `positive` 1 + sin(x)/2, `large` 2 + sin(x)/2. There, `radius` is the distance to the nearest singularity in the complex plane (1
 * for functions without one that grow), `slope` a bound of how much a change of the input changes the output, both of one element.
 */
export interface Block {
  readonly domain: keyof typeof DOMAINS;
  readonly radius: number;
  readonly slope: number;
  readonly apply: (b: GraphBuilder, x: RandomValue, choice: number) => RandomValue;
}

const { int, ints, float, string } = attribute;

const DOMAINS = {
  any: (_: GraphBuilder, x: RandomValue) => x,
  wave: (b: GraphBuilder, x: RandomValue) => b.emit('Sin', [x]),
  small: (b: GraphBuilder, x: RandomValue) => b.emit('Mul', [b.emit('Sin', [x]), b.number(0.5)]),
  positive: (b: GraphBuilder, x: RandomValue) => b.emit('Add', [DOMAINS.small(b, x), b.number(1)]),
  large: (b: GraphBuilder, x: RandomValue) => b.emit('Add', [DOMAINS.small(b, x), b.number(2)]),
} as const;

/** The input where the block wants it. */
export function inDomain(block: Block, b: GraphBuilder, x: RandomValue): RandomValue {
  return DOMAINS[block.domain](b, x);
}

type Apply = Block['apply'];
type Attributes = Parameters<GraphBuilder['emit']>[2];

const linear = (apply: Apply, slope = 1): Block => ({ domain: 'any', radius: Number.POSITIVE_INFINITY, slope, apply });
const smooth = (domain: Block['domain'], radius: number, slope: number, apply: Apply): Block => ({
  domain,
  radius,
  slope,
  apply,
});
const unary = (
  opType: string,
  domain: Block['domain'],
  radius: number,
  slope: number,
  attributes?: Attributes,
): Block => smooth(domain, radius, slope, (b, x) => b.emit(opType, [x], attributes));
/** An elementwise operator with kinks at these inputs. */
const bent = (opType: string, kinks: readonly number[], attributes?: Attributes, slope = 2): Block =>
  smooth('wave', 1, slope, (b, x) => {
    for (const at of kinks) b.kink(b.emit('Sub', [x, b.number(at)]));
    return b.emit(opType, [x], attributes);
  });
/** The operator with a second input of its own, in the same domain. */
const binary = (opType: string, domain: Block['domain'], radius: number, slope: number): Block =>
  smooth(domain, radius, slope, (b, x, choice) => {
    const dims = choice % 2 === 0 ? x.dims : x.dims.map((dim, axis) => (axis === choice % x.dims.length ? dim : 1));
    return b.emit(opType, [x, DOMAINS[domain](b, b.parameter(dims))]);
  });
const extremum = (opType: string): Block =>
  linear((b, x) => {
    const other = b.parameter(x.dims);
    b.kink(b.emit('Sub', [x, other]));
    return b.emit(opType, [x, other]);
  });
const reduced = (opType: string, domain: Block['domain'], radius: number, slope: number, order = false): Block =>
  smooth(domain, radius, slope, (b, x, choice) => {
    if (order) b.kinkOfOrder(x);
    const axis = b.integers([choice % x.dims.length]);
    return b.emit(opType, [x, axis], { keepdims: int(choice % 2) });
  });

/** Last axis. */
const width = (x: RandomValue) => x.dims.at(-1) ?? 1;

/** Any value as [1, C, H, W] or [1, C, L] with as few channels as possible. */
function picture(b: GraphBuilder, x: RandomValue): RandomValue {
  const count = elementCount(x.dims);
  const height = [4, 3, 2].find((size) => count % size === 0) ?? 1;
  const across = [4, 3, 2].find((size) => (count / height) % size === 0) ?? 1;
  return b.reshape(x, [1, count / height / across, height, across]);
}

const onPicture = (apply: Apply, slope = 1): Block => linear((b, x, choice) => apply(b, picture(b, x), choice), slope);

const conv = (opType: string, weight: (channels: number) => number[], attributes: Attributes): Block =>
  smooth('wave', 1, 20, (b, x) => {
    const p = picture(b, x);
    return b.emit(opType, [p, b.parameter(weight(p.dims[1] ?? 1)), b.parameter([2])], attributes);
  });

const indices = (count: number, size: number, choice: number) =>
  Array.from({ length: count }, (_, index) => ((index * 5 + choice) % size) - (index % 3 === 0 ? size : 0));

export const BLOCKS: Readonly<Record<string, Block>> = {
  Add: binary('Add', 'any', Number.POSITIVE_INFINITY, 2),
  Sub: binary('Sub', 'any', Number.POSITIVE_INFINITY, 2),
  Sum: linear((b, x) => b.emit('Sum', [x, b.parameter(x.dims), x]), 3),
  Mean: linear((b, x) => b.emit('Mean', [x, b.parameter([1])])),
  Mul: binary('Mul', 'wave', 1, 2),
  Div: binary('Div', 'positive', 0.5, 6),
  Pow: binary('Pow', 'positive', 0.5, 4),
  Mod: smooth('any', 1, 1, (b, x) => {
    const ratio = b.emit('Div', [x, b.number(0.7)]);
    b.kink(b.emit('Sub', [ratio, b.emit('Round', [ratio])]));
    return b.emit('Mod', [x, b.number(0.7)], { fmod: int(1) });
  }),
  Max: extremum('Max'),
  Min: extremum('Min'),
  Where: linear((b, x) => {
    b.kink(x);
    const positive = b.emit('Greater', [x, b.number(0)]);
    return b.emit('Where', [positive, x, b.emit('Mul', [b.parameter(x.dims), x])]);
  }, 3),
  PRelu: smooth('wave', 1, 2, (b, x) => {
    b.kink(x);
    return b.emit('PRelu', [x, b.parameter([width(x)])]);
  }),
  ...Object.fromEntries(['Neg', 'Identity'].map((opType) => [opType, linear((b, x) => b.emit(opType, [x]))])),
  Exp: unary('Exp', 'wave', 1, 3),
  Log: unary('Log', 'positive', 0.5, 2),
  Sqrt: unary('Sqrt', 'positive', 0.5, 1),
  Reciprocal: unary('Reciprocal', 'positive', 0.5, 4),
  Sin: unary('Sin', 'any', 1, 1),
  Cos: unary('Cos', 'any', 1, 1),
  Tan: unary('Tan', 'small', 1, 1.4),
  Asin: unary('Asin', 'small', 0.5, 1.2),
  Acos: unary('Acos', 'small', 0.5, 1.2),
  Atan: unary('Atan', 'wave', 1, 1),
  Sinh: unary('Sinh', 'wave', 1, 1.6),
  Cosh: unary('Cosh', 'wave', 1, 1.2),
  Tanh: unary('Tanh', 'any', 1.5, 1),
  Asinh: unary('Asinh', 'wave', 1, 1),
  Acosh: unary('Acosh', 'large', 0.5, 1),
  Atanh: unary('Atanh', 'small', 0.5, 1.4),
  Sigmoid: unary('Sigmoid', 'any', 3, 0.25),
  Erf: unary('Erf', 'wave', 1, 1.2),
  Gelu: smooth('wave', 1, 1.2, (b, x, choice) =>
    b.emit('Gelu', [x], { approximate: string(choice % 2 === 0 ? 'none' : 'tanh') }),
  ),
  Mish: unary('Mish', 'any', 1.5, 1.2),
  Swish: unary('Swish', 'any', 1.5, 1.6, { alpha: float(1.5) }),
  Softplus: unary('Softplus', 'any', 3, 1),
  Softsign: bent('Softsign', [0]),
  Relu: bent('Relu', [0]),
  LeakyRelu: bent('LeakyRelu', [0], { alpha: float(0.3) }),
  Elu: bent('Elu', [0], { alpha: float(0.7) }),
  Celu: bent('Celu', [0], { alpha: float(0.7) }),
  Selu: bent('Selu', [0]),
  ThresholdedRelu: bent('ThresholdedRelu', [0.25], { alpha: float(0.25) }),
  HardSigmoid: bent('HardSigmoid', [-0.5, 0.5], { alpha: float(1), beta: float(0.5) }),
  HardSwish: smooth('any', 1, 2, (b, x) => {
    for (const at of [-3, 3]) b.kink(b.emit('Sub', [x, b.number(at)]));
    return b.emit('HardSwish', [x]);
  }),
  Abs: bent('Abs', [0]),
  Clip: smooth('wave', 1, 1, (b, x) => {
    for (const at of [-0.5, 0.25]) b.kink(b.emit('Sub', [x, b.number(at)]));
    return b.emit('Clip', [x, b.number(-0.5), b.number(0.25)]);
  }),
  CastLike: linear((b, x) => b.emit('CastLike', [x, b.number(0)])),
  Cast: linear((b, x) => b.emit('Cast', [x], { to: int(b.type === 'float64' ? 11 : 1) })),
  Dropout: linear((b, x) => b.emit('Dropout', [x])),
  MatMul: smooth('wave', 1, 8, (b, x) => b.emit('MatMul', [x, DOMAINS.wave(b, b.parameter([width(x), 3]))])),
  Gemm: smooth('wave', 1, 8, (b, x, choice) => {
    const matrix = b.reshape(x, [elementCount(x.dims) / width(x), width(x)]);
    const transB = choice % 2;
    const weight = b.parameter(transB === 1 ? [3, width(x)] : [width(x), 3]);
    return b.emit('Gemm', [matrix, weight, b.parameter([3])], { transB: int(transB), alpha: float(0.5) });
  }),
  Einsum: smooth('wave', 1, 8, (b, x) =>
    b.emit('Einsum', [x, b.parameter([width(x), 2])], { equation: string('...i,ij->j...') }),
  ),
  Attention: smooth('wave', 0.5, 8, (b, x, choice) => {
    const tokens = b.reshape(x, [1, 1, elementCount(x.dims) / width(x), width(x)]);
    const keys = choice % 2 === 0 ? b.parameter([1, 1, 3, width(x)]) : tokens;
    return b.emit('Attention', [tokens, keys, keys], { scale: float(0.5), is_causal: int(choice % 2) });
  }),
  ReduceSum: reduced('ReduceSum', 'any', Number.POSITIVE_INFINITY, 4),
  ReduceMean: reduced('ReduceMean', 'any', Number.POSITIVE_INFINITY, 1),
  ReduceMax: reduced('ReduceMax', 'any', Number.POSITIVE_INFINITY, 1, true),
  ReduceMin: reduced('ReduceMin', 'any', Number.POSITIVE_INFINITY, 1, true),
  ReduceSumSquare: reduced('ReduceSumSquare', 'wave', 1, 8),
  ReduceL1: reduced('ReduceL1', 'positive', 0.5, 4),
  ReduceL2: reduced('ReduceL2', 'positive', 0.5, 2),
  ReduceLogSum: reduced('ReduceLogSum', 'positive', 0.5, 2),
  ReduceLogSumExp: reduced('ReduceLogSumExp', 'wave', 1, 1),
  ReduceProd: reduced('ReduceProd', 'positive', 0.5, 16),
  Softmax: smooth('any', 1, 1, (b, x, choice) => b.emit('Softmax', [x], { axis: int(choice % x.dims.length) })),
  LogSoftmax: smooth('any', 1, 2, (b, x, choice) => b.emit('LogSoftmax', [x], { axis: int(choice % x.dims.length) })),
  CumSum: linear(
    (b, x, choice) => b.emit('CumSum', [x, b.integers([choice % x.dims.length], [])], { reverse: int(choice % 2) }),
    4,
  ),
  LayerNormalization: smooth('wave', 0.5, 4, (b, x) =>
    b.emit('LayerNormalization', [x, b.parameter([width(x)]), b.parameter([width(x)])], { epsilon: float(0.25) }),
  ),
  RMSNormalization: smooth('positive', 0.5, 4, (b, x) =>
    b.emit('RMSNormalization', [x, b.parameter([width(x)])], { epsilon: float(0.25) }),
  ),
  InstanceNormalization: smooth('wave', 0.5, 4, (b, x) => {
    const p = picture(b, x);
    const channels = [p.dims[1] ?? 1];
    return b.emit('InstanceNormalization', [p, b.parameter(channels), b.parameter(channels)], { epsilon: float(0.25) });
  }),
  GroupNormalization: smooth('wave', 0.5, 4, (b, x) => {
    const p = picture(b, x);
    const channels = [p.dims[1] ?? 1];
    const inputs = [p, b.parameter(channels), b.parameter(channels)];
    return b.emit('GroupNormalization', inputs, { num_groups: int(1), epsilon: float(0.25) });
  }),
  LpNormalization: smooth('positive', 0.5, 4, (b, x, choice) =>
    b.emit('LpNormalization', [x], { axis: int(choice % x.dims.length), p: int(1 + (choice % 2)) }),
  ),
  MeanVarianceNormalization: smooth('wave', 0.05, 40, (b, x) => {
    const ramp = Array.from({ length: width(x) }, (_, index) => 3 * index);
    const spread = b.emit('Add', [x, b.constant(floatTensor(b.type, [width(x)], ramp))]);
    return width(x) === 1 ? x : b.emit('MeanVarianceNormalization', [spread], { axes: ints([x.dims.length - 1]) });
  }),
  BatchNormalization: smooth('wave', 1, 4, (b, x) => {
    const p = picture(b, x);
    const channels = p.dims[1] ?? 1;
    const stored = (value: number) =>
      b.constant(floatTensor(b.type, [channels], new Array<number>(channels).fill(value)));
    return b.emit('BatchNormalization', [
      p,
      b.parameter([channels]),
      b.parameter([channels]),
      stored(0.5),
      stored(0.8),
    ]);
  }),
  Conv: conv('Conv', (channels) => [2, channels, 2, 1], { pads: ints([1, 0, 0, 0]) }),
  ConvTranspose: conv('ConvTranspose', (channels) => [channels, 2, 1, 2], {}),
  AveragePool: onPicture((b, x) =>
    b.emit('AveragePool', [x], { kernel_shape: ints([2, 1]), pads: ints([1, 0, 0, 0]) }),
  ),
  MaxPool: onPicture((b, x) => {
    b.kinkOfOrder(x);
    return b.emit('MaxPool', [x], { kernel_shape: ints([1, 2]), pads: ints([0, 1, 0, 0]) });
  }),
  GlobalAveragePool: onPicture((b, x) => b.emit('GlobalAveragePool', [x])),
  GlobalMaxPool: onPicture((b, x) => {
    b.kinkOfOrder(x);
    return b.emit('GlobalMaxPool', [x]);
  }),
  Reshape: linear((b, x) => b.reshape(x, [-1, width(x)])),
  Flatten: linear((b, x, choice) => b.emit('Flatten', [x], { axis: int(choice % x.dims.length) })),
  Unsqueeze: linear((b, x) => b.emit('Unsqueeze', [x, b.integers([0])])),
  Squeeze: linear((b, x) => b.emit('Squeeze', [b.reshape(x, [...x.dims, 1]), b.integers([-1])])),
  Transpose: linear((b, x) => b.emit('Transpose', [x])),
  Expand: linear((b, x) => b.emit('Expand', [b.reshape(x, [1, ...x.dims]), b.integers([2, ...x.dims])])),
  Tile: linear((b, x) => b.emit('Tile', [x, b.integers(x.dims.map((_, axis) => (axis === 0 ? 2 : 1)))])),
  Concat: linear(
    (b, x, choice) => b.emit('Concat', [x, b.parameter(x.dims), x], { axis: int(choice % x.dims.length) }),
    2,
  ),
  Split: linear((b, x) => {
    if (width(x) < 2) return x;
    const [first = '', second = ''] = b.emitAll('Split', [x, b.integers([1, width(x) - 1])], { axis: int(-1) }, 2);
    const dims = x.dims.slice(0, -1);
    return b.emit('Sub', [
      { name: second, dims: [...dims, width(x) - 1] },
      { name: first, dims: [...dims, 1] },
    ]);
  }, 2),
  Slice: linear((b, x, choice) => {
    const axis = b.integers([choice % x.dims.length]);
    const [start, end, step] = choice % 2 === 0 ? [0, 99, 2] : [-1, -99, -1];
    return b.emit('Slice', [x, b.integers([start]), b.integers([end]), axis, b.integers([step])]);
  }),
  Pad: linear((b, x, choice) => {
    const mode = ['constant', 'reflect', 'edge', 'wrap'][choice % 4] ?? 'constant';
    const pads = mode === 'reflect' && width(x) < 2 ? [0, 0] : [1, 0];
    return b.emit('Pad', [x, b.integers(pads), undefined, b.integers([-1])], { mode: string(mode) });
  }, 2),
  Trilu: linear((b, x) => b.emit('Trilu', [b.reshape(x, [1, -1, width(x)])])),
  Resize: onPicture((b, x, choice) => {
    const mode = ['nearest', 'linear', 'cubic'][choice % 3] ?? 'nearest';
    const scales = b.constant(float32([4], [1, 1, choice % 2 === 0 ? 2 : 1, 1.5]));
    return b.emit('Resize', [x, undefined, scales], { mode: string(mode) });
  }, 2),
  DepthToSpace: linear((b, x) => {
    const count = elementCount(x.dims);
    return count % 4 === 0 ? b.emit('DepthToSpace', [b.reshape(x, [1, count, 1, 1])], { blocksize: int(2) }) : x;
  }),
  SpaceToDepth: linear((b, x) => {
    const count = elementCount(x.dims);
    return count % 4 === 0 ? b.emit('SpaceToDepth', [b.reshape(x, [1, 1, 2, count / 2])], { blocksize: int(2) }) : x;
  }),
  Gather: linear((b, x, choice) => {
    const axis = choice % x.dims.length;
    const rows = indices(3, x.dims[axis] ?? 1, choice);
    return b.emit('Gather', [x, b.integers(rows)], { axis: int(axis) });
  }, 2),
  GatherElements: linear(
    (b, x, choice) =>
      b.emit('GatherElements', [x, b.integers(indices(elementCount(x.dims), x.dims[0] ?? 1, choice), x.dims)]),
    2,
  ),
  GatherND: linear(
    (b, x, choice) => b.emit('GatherND', [x, b.integers(indices(3, x.dims[0] ?? 1, choice), [3, 1])]),
    2,
  ),
  ScatterElements: linear((b, x, choice) => {
    const dims = x.dims.map((dim, axis) => (axis === 0 ? 1 : dim));
    const at = new Array<number>(elementCount(dims)).fill(choice % (x.dims[0] ?? 1));
    return b.emit('ScatterElements', [x, b.integers(at, dims), b.parameter(dims)]);
  }),
  ScatterND: linear((b, x, choice) => {
    const at = b.integers([choice % (x.dims[0] ?? 1), 0], [2, 1]);
    const updates = b.parameter([2, ...x.dims.slice(1)]);
    return b.emit('ScatterND', [x, at, updates], { reduction: string('add') });
  }, 2),
  TopK: linear((b, x) => {
    b.kinkOfOrder(x);
    return b.emit('TopK', [x, b.integers([Math.ceil(width(x) / 2)])], {}, 1);
  }),
};
