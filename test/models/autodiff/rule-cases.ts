import { type Attribute, attribute } from '../../../models/onnx/graph.js';
import { float32, int64, type Tensor, tensor } from '../../../models/tensors/tensor.js';

/** One use of an operator: `inputs` are differentiated float inputs (dims) or constants, in order. */
export interface RuleCase {
  readonly title: string;
  readonly opType: string;
  readonly inputs: readonly (readonly number[] | Tensor | null)[];
  readonly attributes?: Readonly<Record<string, Attribute>>;
  readonly outputs?: number;
  readonly opset?: number;
  /**
   * `smooth`: uniform in ±1. `positive`: in 0.5…1.5. `apart`: a shuffle of distinct odd multiples of 0.05, so that nothing
   * lies near another element, a multiple of 0.1 or 0 (kinks).
   */
  readonly values?: 'smooth' | 'positive' | 'apart';
  /** The operator reads its one input twice. */
  readonly same?: boolean;
}

const { int, ints, string, float } = attribute;
const pair = (opType: string, values: RuleCase['values'] = 'smooth'): RuleCase[] => [
  {
    title: `${opType} of equal dims`,
    opType,
    inputs: [
      [2, 3, 4],
      [2, 3, 4],
    ],
    values,
  },
  {
    title: `${opType} with a broadcast second input`,
    opType,
    inputs: [
      [2, 3, 4],
      [3, 1],
    ],
    values,
  },
  { title: `${opType} with a broadcast first input`, opType, inputs: [[1], [2, 3]], values },
  {
    title: `${opType} with both broadcast`,
    opType,
    inputs: [
      [3, 1],
      [1, 4],
    ],
    values,
  },
];
const unary = (opType: string, values: RuleCase['values'] = 'smooth'): RuleCase => {
  return { title: opType, opType, inputs: [[3, 5]], values };
};
const conv = (
  title: string,
  x: number[],
  w: number[],
  more: Record<string, Attribute>,
  opType = 'Conv',
  bias = w[0] ?? 1,
): RuleCase => ({ title: `${opType} ${title}`, opType, inputs: [x, w, [bias]], attributes: more });
const reduce = (opType: string, values: RuleCase['values'] = 'smooth'): RuleCase[] => [
  { title: `${opType} of everything`, opType, inputs: [[2, 3, 2]], values, attributes: { keepdims: int(0) } },
];
const axesInput = (opType: string, values: RuleCase['values'] = 'smooth'): RuleCase => {
  return { title: `${opType} over an axis input`, opType, opset: 18, inputs: [[2, 3, 4], int64([1], [-2])], values };
};
const axesAttribute = (opType: string, values: RuleCase['values'] = 'smooth'): RuleCase => {
  const attributes = { axes: ints([0, 2]), keepdims: int(0) };
  return { title: `${opType} over an axes attribute`, opType, inputs: [[2, 3, 4]], values, attributes };
};
const resize = (factors: number[], x: number[]): RuleCase => ({
  title: `Resize by ${factors.join(' × ')}`,
  opType: 'Resize',
  inputs: [x, null, float32([factors.length], factors)],
  attributes: {
    mode: string('nearest'),
    coordinate_transformation_mode: string('asymmetric'),
    nearest_mode: string('floor'),
  },
});

export const RULE_CASES: readonly RuleCase[] = [
  ...pair('Add'),
  ...pair('Sub'),
  ...pair('Mul'),
  ...pair('Div', 'positive'),
  ...pair('Max', 'apart'),
  ...pair('Min', 'apart'),
  { title: 'Mul of a value with itself', opType: 'Mul', inputs: [[2, 3]], same: true },
  { title: 'Div of a value by itself', opType: 'Div', inputs: [[2, 3]], same: true, values: 'positive' },
  { title: 'Mul of scalars', opType: 'Mul', inputs: [[], []] },
  { title: 'Mul summed to one element', opType: 'Mul', inputs: [[1], [2, 3]] },
  { title: 'Sum of three', opType: 'Sum', inputs: [[2, 3], [3], [2, 1]] },
  {
    title: 'Where',
    opType: 'Where',
    inputs: [tensor('bool', [2, 1], Uint8Array.of(1, 0)), [2, 3], [1, 3]],
  },
  { title: 'Pow 2', opType: 'Pow', inputs: [[2, 3], float32([], [2])] },
  { title: 'Pow 3', opType: 'Pow', inputs: [[2, 3], float32([1], [3])] },
  { title: 'Pow 1', opType: 'Pow', inputs: [[2, 3], float32([], [1])] },
  { title: 'Pow −1.5', opType: 'Pow', inputs: [[2, 3], float32([], [-1.5])], values: 'positive' },
  ...['Identity', 'Neg', 'Exp', 'Sin', 'Cos', 'Tanh', 'Sigmoid', 'Erf'].map((opType) => unary(opType)),
  ...['Log', 'Sqrt', 'Reciprocal'].map((opType) => unary(opType, 'positive')),
  ...['Relu', 'Abs', 'LeakyRelu'].map((opType) => unary(opType, 'apart')),
  { title: 'Clip', opType: 'Clip', inputs: [[4, 5], float32([], [-0.5]), float32([], [0.6])], values: 'apart' },
  { title: 'Clip without a minimum', opType: 'Clip', inputs: [[4, 5], null, float32([], [0.2])], values: 'apart' },
  { title: 'Gelu', opType: 'Gelu', inputs: [[3, 5]], opset: 20 },
  {
    title: 'Gelu tanh',
    opType: 'Gelu',
    inputs: [[3, 5]],
    opset: 20,
    attributes: { approximate: string('tanh') },
  },
  { title: 'Cast to double', opType: 'Cast', inputs: [[2, 3]], attributes: { to: int(11) } },
  {
    title: 'MatMul of matrices',
    opType: 'MatMul',
    inputs: [
      [3, 4],
      [4, 2],
    ],
  },
  {
    title: 'MatMul of batches',
    opType: 'MatMul',
    inputs: [
      [2, 3, 3, 4],
      [2, 3, 4, 2],
    ],
  },
  {
    title: 'MatMul of a batch and a matrix',
    opType: 'MatMul',
    inputs: [
      [2, 3, 4],
      [4, 2],
    ],
  },
  {
    title: 'MatMul of a matrix and a batch',
    opType: 'MatMul',
    inputs: [
      [3, 4],
      [2, 4, 2],
    ],
  },
  {
    title: 'MatMul of broadcast batches',
    opType: 'MatMul',
    inputs: [
      [1, 2, 3, 4],
      [3, 1, 4, 2],
    ],
  },
  { title: 'MatMul of a vector and a matrix', opType: 'MatMul', inputs: [[4], [4, 3]] },
  { title: 'MatMul of a batch and a vector', opType: 'MatMul', inputs: [[2, 3, 4], [4]] },
  { title: 'MatMul of vectors', opType: 'MatMul', inputs: [[4], [4]] },
  { title: 'Gemm', opType: 'Gemm', inputs: [[3, 4], [4, 2], [2]] },
  ...[0, 1].flatMap((transA) =>
    [0, 1].map((transB) => ({
      title: `Gemm transA ${transA} transB ${transB}`,
      opType: 'Gemm',
      inputs: [transA ? [4, 3] : [3, 4], transB ? [2, 4] : [4, 2], [3, 1]],
      attributes: { transA: int(transA), transB: int(transB), alpha: float(0.5), beta: float(-1.5) },
    })),
  ),
  ...['ReduceSum', 'ReduceMean', 'ReduceSumSquare'].flatMap((opType) => reduce(opType)),
  ...['ReduceMax', 'ReduceMin'].flatMap((opType) => reduce(opType, 'apart')),
  axesInput('ReduceSum'),
  axesInput('ReduceMean'),
  axesInput('ReduceMax', 'apart'),
  axesAttribute('ReduceMean'),
  axesAttribute('ReduceMin', 'apart'),
  { title: 'Softmax', opType: 'Softmax', inputs: [[2, 3, 4]] },
  { title: 'Softmax over an inner axis', opType: 'Softmax', inputs: [[2, 3, 4]], attributes: { axis: int(1) } },
  { title: 'InstanceNormalization', opType: 'InstanceNormalization', inputs: [[2, 3, 4, 2], [3], [3]] },
  {
    title: 'InstanceNormalization without scale and bias',
    opType: 'InstanceNormalization',
    inputs: [[2, 3, 8], float32([3], [1, 1, 1]), float32([3], [0, 0, 0])],
    attributes: { epsilon: float(0.01) },
  },
  { title: 'LayerNormalization', opType: 'LayerNormalization', inputs: [[2, 3, 6], [6], [6]] },
  { title: 'LayerNormalization without bias', opType: 'LayerNormalization', inputs: [[2, 3, 6], [6]] },
  {
    title: 'LayerNormalization over two axes',
    opType: 'LayerNormalization',
    inputs: [
      [2, 3, 4],
      [3, 4],
      [3, 4],
    ],
    attributes: { axis: int(1), epsilon: float(0.01) },
  },
  {
    title: 'GroupNormalization with scales per channel',
    opType: 'GroupNormalization',
    opset: 21,
    inputs: [[2, 4, 3, 2], [4], [4]],
    attributes: { num_groups: int(2) },
  },
  {
    title: 'GroupNormalization with scales per group',
    opType: 'GroupNormalization',
    opset: 18,
    inputs: [[2, 4, 3, 2], [2], [2]],
    attributes: { num_groups: int(2) },
  },
  conv('3×3', [2, 3, 5, 4], [4, 3, 3, 3], { pads: ints([1, 1, 1, 1]) }),
  conv('3×3 to fewer channels', [2, 4, 5, 4], [2, 4, 3, 3], { pads: ints([1, 1, 1, 1]) }),
  conv('3×2 with uneven pads', [1, 4, 5, 4], [2, 4, 3, 2], { pads: ints([0, 1, 2, 0]) }),
  conv('dilated', [1, 3, 7, 6], [2, 3, 3, 2], { pads: ints([2, 1, 2, 1]), dilations: ints([2, 3]) }),
  conv('stride 2', [2, 3, 6, 5], [4, 3, 3, 3], { pads: ints([1, 1, 1, 1]), strides: ints([2, 2]) }),
  conv('stride 3 that leaves a rest', [1, 2, 8, 7], [2, 2, 2, 2], { strides: ints([3, 2]) }),
  conv('1×1', [2, 3, 4, 3], [5, 3, 1, 1], {}),
  conv('1×1 to fewer channels', [2, 5, 4, 3], [3, 5, 1, 1], {}),
  conv('grouped', [2, 4, 5, 4], [6, 2, 3, 3], { pads: ints([1, 1, 1, 1]), group: int(2) }),
  conv('in one dimension', [2, 3, 7], [4, 3, 3], { pads: ints([1, 1]), strides: ints([2]) }),
  conv('padded automatically', [1, 3, 6, 5], [2, 3, 3, 2], { auto_pad: string('SAME_LOWER'), strides: ints([2, 1]) }),
  conv('stride 2', [2, 3, 3, 4], [3, 2, 3, 3], { strides: ints([2, 2]), pads: ints([1, 1, 1, 1]) }, 'ConvTranspose', 2),
  conv(
    'with output padding',
    [1, 2, 3, 3],
    [2, 3, 2, 2],
    { strides: ints([2, 2]), output_padding: ints([1, 1]) },
    'ConvTranspose',
    3,
  ),
  conv('grouped', [1, 4, 3, 3], [4, 2, 2, 2], { group: int(2) }, 'ConvTranspose', 4),
  { title: 'Reshape', opType: 'Reshape', inputs: [[2, 6], int64([3], [3, -1, 2])] },
  { title: 'Flatten', opType: 'Flatten', inputs: [[2, 3, 2]] },
  { title: 'Squeeze', opType: 'Squeeze', inputs: [[2, 1, 3], int64([1], [1])] },
  { title: 'Unsqueeze', opType: 'Unsqueeze', inputs: [[2, 3], int64([2], [0, 2])] },
  { title: 'Transpose', opType: 'Transpose', inputs: [[2, 3, 4]], attributes: { perm: ints([1, 2, 0]) } },
  { title: 'Transpose by default', opType: 'Transpose', inputs: [[2, 3, 4]] },
  { title: 'Expand', opType: 'Expand', inputs: [[3, 1], int64([3], [2, 3, 4])] },
  {
    title: 'Concat',
    opType: 'Concat',
    inputs: [
      [2, 3],
      [2, 1],
      [2, 2],
    ],
    attributes: { axis: int(-1) },
  },
  {
    title: 'Concat with a constant part',
    opType: 'Concat',
    inputs: [float32([1, 2], [3, 4]), [3, 2]],
    attributes: { axis: int(0) },
  },
  { title: 'Split', opType: 'Split', inputs: [[2, 5], int64([2], [2, 3])], outputs: 2, attributes: { axis: int(1) } },
  { title: 'Slice', opType: 'Slice', inputs: [[4, 5], int64([2], [1, -3]), int64([2], [3, 99])] },
  {
    title: 'Slice with steps',
    opType: 'Slice',
    inputs: [[7, 6], int64([2], [1, -1]), int64([2], [7, -99]), int64([2], [0, 1]), int64([2], [3, -2])],
  },
  { title: 'Pad', opType: 'Pad', inputs: [[2, 3], int64([4], [0, 1, 2, 1])] },
  {
    title: 'Pad of chosen axes',
    opType: 'Pad',
    opset: 18,
    inputs: [[2, 3], int64([2], [1, 2]), null, int64([1], [-1])],
  },
  resize([1, 1, 2, 2], [2, 2, 3, 2]),
  resize([1, 1, 3], [1, 2, 3]),
  resize([2, 1, 1, 3], [1, 2, 2, 2]),
  ...['DCR', 'CRD'].map((mode) => ({
    title: `DepthToSpace ${mode}`,
    opType: 'DepthToSpace',
    inputs: [[1, 8, 2, 3]],
    attributes: { blocksize: int(2), mode: string(mode) },
  })),
  { title: 'SpaceToDepth', opType: 'SpaceToDepth', inputs: [[1, 2, 4, 6]], attributes: { blocksize: int(2) } },
  { title: 'Gather of one row', opType: 'Gather', inputs: [[4, 3], int64([], [-2])] },
  {
    title: 'Gather of one row on an inner axis',
    opType: 'Gather',
    inputs: [[2, 4, 3], int64([1], [2])],
    attributes: { axis: int(1) },
  },
  { title: 'Gather with repeated and negative rows', opType: 'Gather', inputs: [[4, 3], int64([2, 2], [1, 3, 1, -1])] },
  { title: 'Gather from a table of scales', opType: 'Gather', inputs: [[6], int64([4], [5, 0, 5, 2])] },
  {
    title: 'Gather on an inner axis',
    opType: 'Gather',
    inputs: [[2, 4, 3], int64([3], [2, 0, 2])],
    attributes: { axis: int(1) },
  },
];
