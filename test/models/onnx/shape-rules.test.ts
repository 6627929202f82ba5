import { describe, expect, it } from 'vitest';
import {
  type Attribute,
  attribute,
  DATA_TYPE,
  type DataTypeName,
  Graph,
  initializerFromTensor,
  node,
} from '../../../models/onnx/graph.js';
import { writeModel } from '../../../models/onnx/model-proto.js';
import { inferShapes } from '../../../models/onnx/shape-inference.js';
import { SHAPE_RULES } from '../../../models/onnx/shapes/shape-rules.js';
import { bytesFromTensor, float32, int64, type Tensor, tensor } from '../../../models/tensors/tensor.js';
import { errorOf } from './damaged-models.js';
import { inputOf, runOnnx } from './run-onnx.js';

interface OperatorCase {
  readonly op: string;
  /** Constants; strings like 'float32:2,3' are graph inputs; '' is an omitted input. */
  readonly inputs: readonly (Tensor | string)[];
  readonly attributes?: Record<string, Attribute>;
  readonly outputs?: number;
  readonly opset?: number;
  /** Constant input as packed int4. */
  readonly packed?: { readonly index: number; readonly type: DataTypeName; readonly dims: number[] };
}

const ints = (...values: number[]) => int64([values.length], values);
const scalar = (value: number) => int64([], [value]);
const bools = (...values: number[]) => tensor('bool', [values.length], Uint8Array.from(values));

function graphOf(one: OperatorCase): Graph {
  const graph = new Graph();
  graph.opset = one.opset ?? 21;
  const inputs = one.inputs.map((input, index) => {
    if (input === '') return '';
    const name = `in${index}`;
    if (one.packed?.index === index) {
      const { type, dims } = one.packed;
      return graph.addInitializer({
        name,
        type,
        dims,
        raw: new Uint8Array(Math.ceil(dims.reduce((a, b) => a * b, 1) / 2)).fill(0x21),
      });
    }
    if (typeof input !== 'string') return graph.addInitializer(initializerFromTensor(name, input));
    const [type = '', dims = ''] = input.split(':');
    graph.inputs.push({ name, type: type as DataTypeName, shape: dims === '' ? [] : dims.split(',').map(Number) });
    return name;
  });
  const outputs = Array.from({ length: one.outputs ?? 1 }, (_, index) => `out${index}`);
  graph.nodes = [node(one.op, inputs, outputs, { name: 'n', attributes: one.attributes ?? {} })];
  const shapes = inferShapes(graph);
  graph.outputs = outputs.map((name) => ({ name, type: shapes.typeOf(name), shape: null }));
  return graph;
}

const REDUCTIONS = ['Sum', 'Mean', 'Max', 'Min', 'Prod', 'L1', 'L2', 'LogSum', 'LogSumExp', 'SumSquare'];
const UNARY = [
  'Abs',
  'Neg',
  'Sqrt',
  'Floor',
  'Ceil',
  'Sign',
  'Identity',
  'Exp',
  'Log',
  'Round',
  'Sin',
  'Cos',
  'Tan',
  'Asin',
  'Acos',
  'Atan',
  'Sinh',
  'Cosh',
  'Asinh',
  'Acosh',
  'Atanh',
  'Tanh',
  'Sigmoid',
  'Relu',
  'LeakyRelu',
  'Elu',
  'Selu',
  'Celu',
  'Gelu',
  'HardSigmoid',
  'HardSwish',
  'Mish',
  'Softplus',
  'Softsign',
  'ThresholdedRelu',
  'Erf',
  'Reciprocal',
  'Clip',
  'Shrink',
  'Softmax',
  'LogSoftmax',
  'Hardmax',
  'IsNaN',
  'IsInf',
  'LpNormalization',
  'MeanVarianceNormalization',
];

/** One row per operator and per way of using it; constant operands make the rule compute the elements as well. */
const CASES: readonly OperatorCase[] = [
  ...UNARY.map(
    (op): OperatorCase => ({ op, inputs: [op === 'MeanVarianceNormalization' ? 'float32:2,3,4,5' : 'float32:2,3'] }),
  ),
  ...['Abs', 'Neg', 'Sqrt', 'Floor', 'Ceil', 'Identity'].map(
    (op): OperatorCase => ({ op, inputs: [float32([4], [0.1, 2.5, 9, 1e30])] }),
  ),
  ...['Abs', 'Neg', 'Sign'].map((op): OperatorCase => ({ op, inputs: [ints(-3, 0, 5)] })),
  ...['Add', 'Sub', 'Mul', 'Div', 'Pow', 'Min', 'Max', 'Sum', 'Mean'].flatMap((op): OperatorCase[] => [
    { op, inputs: ['float32:2,1,3', 'float32:4,1'] },
    { op, inputs: [float32([3], [0.1, -7, 1e20]), float32([2, 1], [0.3, 3])] },
  ]),
  ...['Add', 'Sub', 'Mul', 'Div', 'Min', 'Max'].map(
    (op): OperatorCase => ({ op, inputs: [ints(-7, 8, 9), ints(2, -3, 4)] }),
  ),
  { op: 'Sum', inputs: ['float32:2,3', 'float32:3', float32([], [1])] },
  { op: 'Mod', inputs: ['int64:3', ints(2)] },
  ...['Equal', 'Greater', 'Less', 'GreaterOrEqual', 'LessOrEqual'].flatMap((op): OperatorCase[] => [
    { op, inputs: ['float32:2,1', 'float32:3'] },
    { op, inputs: [ints(1, 2, 3), ints(2)] },
  ]),
  ...['And', 'Or', 'Xor'].flatMap((op): OperatorCase[] => [
    { op, inputs: [bools(0, 0, 1, 1), bools(0, 1, 0, 1)] },
    { op, inputs: ['bool:2,1', 'bool:3'] },
  ]),
  { op: 'Not', inputs: [bools(0, 1)] },
  { op: 'Not', inputs: ['bool:2,3'] },
  { op: 'Where', inputs: [bools(1, 0), ints(1), int64([2, 1], [5, 6])] },
  { op: 'Where', inputs: ['bool:3', 'float32:2,3', 'float32:1'] },
  { op: 'Cast', inputs: [float32([4], [-1.7, 0, 2.9, 1e9])], attributes: { to: attribute.int(DATA_TYPE.int64) } },
  { op: 'Cast', inputs: [ints(3, 0, -1)], attributes: { to: attribute.int(DATA_TYPE.bool) } },
  { op: 'Cast', inputs: [ints(3, 2 ** 30 + 1)], attributes: { to: attribute.int(DATA_TYPE.float32) } },
  { op: 'Cast', inputs: ['float32:2'], attributes: { to: attribute.int(DATA_TYPE.float16) } },
  { op: 'CastLike', inputs: ['float32:2', scalar(1)] },
  { op: 'PRelu', inputs: ['float32:2,3', 'float32:3'] },
  { op: 'CumSum', inputs: ['float32:2,3', scalar(1)] },
  { op: 'Trilu', inputs: ['float32:3,3'] },
  { op: 'Dropout', inputs: ['float32:2,3'], outputs: 2 },
  { op: 'QuantizeLinear', inputs: ['float32:2,3', float32([], [0.1])] },
  {
    op: 'QuantizeLinear',
    inputs: ['float32:2,3', float32([3], [0.1, 0.2, 0.3]), tensor('int8', [3], new Int8Array(3))],
    attributes: { axis: attribute.int(1) },
  },
  { op: 'DequantizeLinear', inputs: ['int8:2,3', float32([], [0.1])] },
  {
    op: 'DequantizeLinear',
    inputs: ['x', float32([2, 2], [1, 2, 3, 4])],
    attributes: { axis: attribute.int(1), block_size: attribute.int(2) },
    packed: { index: 0, type: 'int4', dims: [2, 4] },
  },
  { op: 'DynamicQuantizeLinear', inputs: ['float32:2,3'], outputs: 3 },
  { op: 'MatMul', inputs: ['float32:2,1,3,4', 'float32:5,4,2'] },
  { op: 'MatMul', inputs: ['float32:4', 'float32:4'] },
  { op: 'MatMul', inputs: ['float32:3,4', 'float32:4'] },
  { op: 'MatMulInteger', inputs: ['uint8:2,3', 'int8:3,4'] },
  {
    op: 'Gemm',
    inputs: ['float32:4,3', 'float32:5,4', 'float32:5'],
    attributes: { transA: attribute.int(1), transB: attribute.int(1) },
  },
  {
    op: 'Conv',
    inputs: ['float32:2,4,9,8', 'float32:6,2,3,3', 'float32:6'],
    attributes: {
      group: attribute.int(2),
      strides: attribute.ints([2, 1]),
      pads: attribute.ints([1, 0, 1, 2]),
      dilations: attribute.ints([1, 2]),
    },
  },
  {
    op: 'Conv',
    inputs: ['float32:1,2,7', 'float32:3,2,4'],
    attributes: { auto_pad: attribute.string('SAME_UPPER'), strides: attribute.ints([2]) },
  },
  { op: 'Conv', inputs: ['float32:1,2,7', 'float32:3,2,4'], attributes: { auto_pad: attribute.string('VALID') } },
  { op: 'ConvInteger', inputs: ['uint8:1,2,5,5', 'uint8:3,2,3,3'] },
  {
    op: 'ConvTranspose',
    inputs: ['float32:2,4,5,6', 'float32:4,3,3,3'],
    attributes: {
      strides: attribute.ints([2, 3]),
      pads: attribute.ints([1, 0, 1, 1]),
      output_padding: attribute.ints([1, 0]),
      dilations: attribute.ints([1, 2]),
    },
  },
  {
    op: 'ConvTranspose',
    inputs: ['float32:2,4,5', 'float32:4,3,2'],
    attributes: { group: attribute.int(2), strides: attribute.ints([2]) },
  },
  ...['MaxPool', 'AveragePool', 'LpPool'].flatMap((op): OperatorCase[] => [
    {
      op,
      inputs: ['float32:1,2,7,9'],
      attributes: {
        kernel_shape: attribute.ints([3, 2]),
        strides: attribute.ints([2, 2]),
        ...(op === 'LpPool' ? {} : { ceil_mode: attribute.int(1) }),
      },
    },
    { op, inputs: ['float32:1,2,7'], attributes: { kernel_shape: attribute.ints([2]), pads: attribute.ints([1, 0]) } },
  ]),
  { op: 'MaxPool', inputs: ['float32:1,2,6,6'], attributes: { kernel_shape: attribute.ints([2, 2]) }, outputs: 2 },
  { op: 'GlobalAveragePool', inputs: ['float32:2,3,4,5'] },
  { op: 'GlobalMaxPool', inputs: ['float32:2,3,4'] },
  {
    op: 'Einsum',
    inputs: ['float32:2,3,4', 'float32:2,4,5'],
    attributes: { equation: attribute.string('bij, bjk -> bik') },
  },
  { op: 'Einsum', inputs: ['float32:3,4', 'float32:4,2'], attributes: { equation: attribute.string('ij,jk') } },
  {
    op: 'Einsum',
    inputs: ['float32:5,2,3,4', 'float32:4,6'],
    attributes: { equation: attribute.string('...ij, jk -> k...i') },
  },
  { op: 'Einsum', inputs: ['float32:2,3,4', 'float32:4'], attributes: { equation: attribute.string('...i,i') } },
  ...REDUCTIONS.flatMap((name): OperatorCase[] => [
    { op: `Reduce${name}`, inputs: ['float32:2,3,4', ints(-1, 0)], attributes: { keepdims: attribute.int(0) } },
    { op: `Reduce${name}`, inputs: ['float32:2,3,4'], attributes: { axes: attribute.ints([1]) }, opset: 12 },
    { op: `Reduce${name}`, inputs: ['float32:2,3'] },
  ]),
  { op: 'ReduceSum', inputs: ['float32:2,3', ints()], attributes: { noop_with_empty_axes: attribute.int(1) } },
  ...['Sum', 'Max', 'Min', 'Prod'].map(
    (name): OperatorCase => ({ op: `Reduce${name}`, inputs: [int64([2, 3], [3, -1, 4, 1, -5, 9]), ints(1)] }),
  ),
  { op: 'ReduceProd', inputs: [ints(2, 3, 4)], attributes: { keepdims: attribute.int(0) } },
  { op: 'ArgMax', inputs: ['float32:2,3'], attributes: { axis: attribute.int(-1), keepdims: attribute.int(0) } },
  { op: 'ArgMin', inputs: ['float32:2,3'] },
  { op: 'TopK', inputs: ['float32:2,5', ints(3)], outputs: 2 },
  { op: 'LayerNormalization', inputs: ['float32:2,3,4', 'float32:4', 'float32:4'], outputs: 3 },
  { op: 'RMSNormalization', inputs: ['float32:2,3,4', 'float32:4'], opset: 23 },
  { op: 'Attention', inputs: ['float32:2,4,3,5', 'float32:2,2,6,5', 'float32:2,2,6,7'], opset: 23 },
  {
    op: 'Attention',
    inputs: ['float32:2,3,20', 'float32:2,6,10', 'float32:2,6,14'],
    attributes: { q_num_heads: attribute.int(4), kv_num_heads: attribute.int(2) },
    opset: 23,
  },
  {
    op: 'Attention',
    inputs: ['float32:2,4,3,5', 'float32:2,4,1,5', 'float32:2,4,1,5', '', 'float32:2,4,6,5', 'float32:2,4,6,5'],
    outputs: 4,
    opset: 23,
  },
  { op: 'InstanceNormalization', inputs: ['float32:2,3,4', 'float32:3', 'float32:3'] },
  {
    op: 'GroupNormalization',
    inputs: ['float32:2,6,4', 'float32:6', 'float32:6'],
    attributes: { num_groups: attribute.int(3) },
  },
  {
    op: 'BatchNormalization',
    inputs: ['float32:2,3,4', 'float32:3', 'float32:3', 'float32:3', float32([3], [1, 2, 3])],
  },
  { op: 'LRN', inputs: ['float32:2,3,4,4'], attributes: { size: attribute.int(3) } },
  { op: 'Reshape', inputs: ['float32:2,3,4', ints(0, -1, 2)] },
  { op: 'Reshape', inputs: [ints(1, 2, 3, 4), ints(2, 2)] },
  { op: 'Flatten', inputs: ['float32:2,3,4'], attributes: { axis: attribute.int(-1) } },
  { op: 'Flatten', inputs: ['float32:2,3,4'], attributes: { axis: attribute.int(0) } },
  { op: 'Transpose', inputs: [int64([2, 3], [1, 2, 3, 4, 5, 6])] },
  { op: 'Transpose', inputs: [int64([2, 1, 3], [1, 2, 3, 4, 5, 6])], attributes: { perm: attribute.ints([2, 0, 1]) } },
  { op: 'Squeeze', inputs: ['float32:2,1,3,1', ints(-1)] },
  { op: 'Squeeze', inputs: ['float32:2,1,3,1'] },
  { op: 'Squeeze', inputs: ['float32:2,1,3,1'], attributes: { axes: attribute.ints([1]) }, opset: 11 },
  { op: 'Unsqueeze', inputs: ['float32:2,3', ints(-1, 0)] },
  { op: 'Expand', inputs: [int64([2, 1], [1, 2]), ints(3, 1, 2)] },
  { op: 'Tile', inputs: [int64([2, 2], [1, 2, 3, 4]), ints(2, 3)] },
  {
    op: 'Concat',
    inputs: [int64([2, 1], [1, 2]), int64([2, 2], [3, 4, 5, 6])],
    attributes: { axis: attribute.int(-1) },
  },
  { op: 'Concat', inputs: ['float32:2,3', 'float32:1,3'], attributes: { axis: attribute.int(0) } },
  { op: 'Split', inputs: [ints(1, 2, 3, 4, 5), ints(2, 3)], outputs: 2 },
  {
    op: 'Split',
    inputs: ['float32:2,5'],
    attributes: { axis: attribute.int(1), num_outputs: attribute.int(2) },
    outputs: 2,
  },
  { op: 'Split', inputs: ['float32:4,2'], outputs: 2, opset: 13 },
  {
    op: 'Slice',
    inputs: [
      int64([3, 4], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]),
      ints(-1, 1),
      ints(-100, 2 ** 53),
      ints(0, 1),
      ints(-1, 2),
    ],
  },
  { op: 'Slice', inputs: ['float32:5,6', ints(1), ints(-1)] },
  { op: 'Slice', inputs: ['float32:5', ints(4), ints(2)] },
  { op: 'Pad', inputs: ['float32:2,3', ints(1, 0, -1, 2)] },
  { op: 'Pad', inputs: ['float32:2,3', ints(1, 2), float32([], [0]), ints(-1)] },
  { op: 'DepthToSpace', inputs: ['float32:2,8,3,4'], attributes: { blocksize: attribute.int(2) } },
  { op: 'SpaceToDepth', inputs: ['float32:2,2,4,6'], attributes: { blocksize: attribute.int(2) } },
  { op: 'Shape', inputs: ['float32:2,3,4'], attributes: { start: attribute.int(1), end: attribute.int(-1) } },
  { op: 'Size', inputs: ['float32:2,3,4'] },
  { op: 'Constant', inputs: [], attributes: { value_ints: attribute.ints([1, 2]) } },
  { op: 'Constant', inputs: [], attributes: { value_int: attribute.int(3) } },
  { op: 'Constant', inputs: [], attributes: { value_float: attribute.float(0.1) } },
  { op: 'Constant', inputs: [], attributes: { value_floats: attribute.floats([0.1, 2]) } },
  { op: 'ConstantOfShape', inputs: [ints(2, 3)] },
  { op: 'Range', inputs: [scalar(2), scalar(-5), scalar(-3)] },
  { op: 'Range', inputs: [float32([], [0]), float32([], [1]), float32([], [0.3])] },
  {
    op: 'Gather',
    inputs: [int64([2, 3], [1, 2, 3, 4, 5, 6]), int64([1, 2], [-1, 0])],
    attributes: { axis: attribute.int(1) },
  },
  { op: 'Gather', inputs: ['float32:3,4', scalar(1)] },
  { op: 'GatherElements', inputs: [int64([2, 3], [1, 2, 3, 4, 5, 6]), int64([1, 3], [1, 0, -1])] },
  {
    op: 'GatherElements',
    inputs: [int64([2, 3], [1, 2, 3, 4, 5, 6]), int64([2, 2], [2, 0, 1, 1])],
    attributes: { axis: attribute.int(1) },
  },
  { op: 'GatherND', inputs: ['float32:2,3,4', int64([5, 2], [0, 1, 1, 2, 0, 0, 1, 1, 1, 0])] },
  { op: 'ScatterND', inputs: ['float32:4,2', int64([1, 1], [2]), 'float32:1,2'] },
  { op: 'ScatterElements', inputs: ['float32:3,2', int64([1, 2], [0, 1]), 'float32:1,2'] },
  { op: 'OneHot', inputs: ['int64:2,3', scalar(4), float32([2], [0, 1])], attributes: { axis: attribute.int(1) } },
  { op: 'EyeLike', inputs: ['float32:3,3'] },
  { op: 'RandomNormalLike', inputs: ['float32:3,3'] },
  { op: 'RandomUniformLike', inputs: ['float32:3,3'] },
  { op: 'RandomNormal', inputs: [], attributes: { shape: attribute.ints([2, 3]) } },
  { op: 'RandomUniform', inputs: [], attributes: { shape: attribute.ints([2]) } },
  { op: 'Resize', inputs: ['float32:1,2,3,4', '', float32([4], [1, 1, 2, 1.6])] },
  { op: 'Resize', inputs: ['float32:1,2,3,4', '', '', ints(1, 2, 7, 5)] },
  { op: 'ReverseSequence', inputs: ['float32:3,2', ints(1, 3)] },
  { op: 'BitShift', inputs: ['uint8:3', 'uint8:3'], attributes: { direction: attribute.string('LEFT') } },
  ...['BitwiseAnd', 'BitwiseOr', 'BitwiseXor'].map((op): OperatorCase => ({ op, inputs: ['int32:3', 'int32:1'] })),
  { op: 'BitwiseNot', inputs: ['int32:3'] },
];

/** Operators that the CPU provider lacks in this opset, or that need operands this harness cannot make. */
const NOT_RUN = new Set(['QLinearMatMul', 'QLinearConv', 'Swish', 'RMSNormalization']);

describe('shape rules', () => {
  it.each(
    CASES.map(
      (one) =>
        [
          `${one.op}(${one.inputs.map((input) => (typeof input === 'string' ? input : `${input.type}[${input.dims}]`)).join('; ')})`,
          one,
        ] as const,
    ),
  )('infers what onnxruntime computes for %s', async (_, one) => {
    const graph = graphOf(one);
    const shapes = inferShapes(graph);
    const feeds = Object.fromEntries(
      graph.inputs.map(({ name, type, shape }) => [name, inputOf(type as 'float32', shape as number[])]),
    );
    const results = await runOnnx(writeModel(graph), feeds);
    for (const [name, result] of Object.entries(results)) {
      expect([shapes.typeOf(name), shapes.dimsOf(name)]).toEqual([result.type, result.dims]);
      const constant = shapes.constantOf(name);
      if (constant !== undefined) expect(Buffer.compare(bytesFromTensor(constant), bytesFromTensor(result))).toBe(0);
    }
  });

  it('has a case for every rule', () => {
    const tested = new Set(CASES.map((one) => one.op));
    expect([...SHAPE_RULES.keys()].filter((operator) => !tested.has(operator) && !NOT_RUN.has(operator))).toEqual([]);
  });

  it('computes the elements of constants wherever the operator is exact', () => {
    const folded = CASES.filter(
      (one) => one.inputs.length > 0 && one.inputs.every((input) => typeof input !== 'string'),
    );
    const known = folded.filter((one) => inferShapes(graphOf(one)).constantOf('out0') !== undefined);
    expect(known.length).toBeGreaterThanOrEqual(50);
  });

  it.each<[string, OperatorCase]>([
    ['matrices [2, 3] and [2, 3] do not fit', { op: 'MatMul', inputs: ['float32:2,3', 'float32:2,3'] }],
    ['cannot be broadcast', { op: 'Add', inputs: ['float32:2,3', 'float32:2'] }],
    ['cannot reshape [2, 3] to [4, -1]', { op: 'Reshape', inputs: ['float32:2,3', ints(4, -1)] }],
    ['dims that depend on the data', { op: 'Reshape', inputs: ['float32:2,3', 'int64:2'] }],
    ['does not fit weight', { op: 'Conv', inputs: ['float32:1,3,4,4', 'float32:2,4,1,1'] }],
    ['larger than its input', { op: 'Conv', inputs: ['float32:1,3,2,2', 'float32:2,3,3,3'] }],
    [
      'axis 5 does not exist',
      { op: 'Concat', inputs: ['float32:2', 'float32:2'], attributes: { axis: attribute.int(5) } },
    ],
    ['operator NonZero is not supported (n)', { op: 'NonZero', inputs: ['float32:2'] }],
  ])('says that a node %s', (message, one) => {
    const error = errorOf(() => graphOf(one));
    expect(error.kind).toBe('InvalidModel');
    expect(error.message).toContain(message);
  });

  it('names every unsupported operator at once, and not what only follows from them', () => {
    const graph = new Graph();
    graph.inputs = [{ name: 'x', type: 'float32', shape: [2] }];
    graph.insertNodes([
      node('NonZero', ['x'], ['a'], { name: 'first' }),
      node('Relu', ['a'], ['b'], { name: 'behind' }),
      node('Special', ['x'], ['c'], { name: 'second', domain: 'com.example' }),
    ]);
    const { message } = errorOf(() => inferShapes(graph));
    expect(message).toContain('operator NonZero is not supported (first)');
    expect(message).toContain('operator com.example.Special is not supported (second)');
    expect(message).not.toContain('behind');
    graph.valueInfos.set('a', { name: 'a', type: 'int64', shape: [1, 2] });
    graph.valueInfos.set('c', { name: 'c', type: 'float32', shape: [7] });
    expect(inferShapes(graph).dimsOf('b')).toEqual([1, 2]);
  });

  it('refuses dims that contradict the declaration, and inputs that do not exist', () => {
    const graph = new Graph();
    graph.inputs = [
      { name: 'sample', type: 'float32', shape: ['batch', 3] },
      { name: 'mask', type: 'float32', shape: ['batch'] },
    ];
    expect(errorOf(() => inferShapes(graph, { sample: [2, 4], mask: [2] })).message).toContain(
      'cannot have dims [2, 4]',
    );
    expect(errorOf(() => inferShapes(graph, { sample: [2, 3], mask: [1] })).message).toContain('batch = 2');
    expect(errorOf(() => inferShapes(graph, { sampel: [2, 3] })).message).toContain('Did you mean "sample"?');
    expect(errorOf(() => inferShapes(graph, { sample: [2, 3] })).message).toContain('Input "mask" needs concrete dims');
  });
});
