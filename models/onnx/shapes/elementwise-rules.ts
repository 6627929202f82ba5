import { type ElementType, tensor } from '../../tensors/tensor.js';
import { dataTypeName } from '../data-type.js';
import { type DataTypeName, intAttribute, type Node } from '../graph.js';
import { isElementType } from '../tensor-from-initializer.js';
import { broadcastDims } from './broadcast.js';
import {
  type BinaryOperator,
  binaryConstant,
  castConstant,
  type UnaryOperator,
  unaryConstant,
  whereConstant,
} from './constant-elements.js';
import { type ShapeRule, ShapeRuleError, type ValueFacts } from './shape-rule.js';

/** Operators that work element by element, with numpy broadcasting. */

/** Math.min takes no bigints. */
export function smallerBigint(a: bigint, b: bigint): bigint {
  if (a < b) return a;
  return b;
}

/** Math.max takes no bigints. */
export function largerBigint(a: bigint, b: bigint): bigint {
  if (a > b) return a;
  return b;
}

const UNARY: Readonly<Record<string, UnaryOperator>> = {
  Abs: { number: Math.abs, bigint: (a) => (a < 0n ? -a : a) },
  Neg: { number: (a) => -a, bigint: (a) => -a },
  Sqrt: { number: Math.sqrt, bigint: (a) => a },
  Floor: { number: Math.floor, bigint: (a) => a },
  Ceil: { number: Math.ceil, bigint: (a) => a },
  Sign: { number: Math.sign, bigint: (a) => (a > 0n ? 1n : a < 0n ? -1n : 0n) },
  Not: { number: (a) => (a === 0 ? 1 : 0), bigint: (a) => a },
};

const ARITHMETIC: Readonly<Record<string, BinaryOperator>> = {
  Add: { number: (a, b) => a + b, bigint: (a, b) => a + b },
  Sub: { number: (a, b) => a - b, bigint: (a, b) => a - b },
  Mul: { number: (a, b) => a * b, bigint: (a, b) => a * b },
  Min: { number: Math.min, bigint: smallerBigint },
  Max: { number: Math.max, bigint: largerBigint },
};

const LOGICAL: Readonly<Record<string, BinaryOperator>> = {
  Equal: { number: (a, b) => a === b, bigint: (a, b) => a === b },
  Greater: { number: (a, b) => a > b, bigint: (a, b) => a > b },
  Less: { number: (a, b) => a < b, bigint: (a, b) => a < b },
  GreaterOrEqual: { number: (a, b) => a >= b, bigint: (a, b) => a >= b },
  LessOrEqual: { number: (a, b) => a <= b, bigint: (a, b) => a <= b },
  And: { number: (a, b) => a !== 0 && b !== 0, bigint: (a, b) => a !== 0n && b !== 0n },
  Or: { number: (a, b) => a !== 0 || b !== 0, bigint: (a, b) => a !== 0n || b !== 0n },
  Xor: { number: (a, b) => (a !== 0) !== (b !== 0), bigint: (a, b) => (a !== 0n) !== (b !== 0n) },
};

/** Output like the first input. */
export const likeFirst: ShapeRule = ({ input }) => [{ type: input(0).type, dims: input(0).dims }];

const identity: ShapeRule = ({ input }) => [input(0)];

const unary: ShapeRule = ({ node, input }) => {
  const a = input(0);
  return [{ type: a.type, dims: a.dims, constant: unaryConstant(UNARY[node.opType], a.constant) }];
};

const toBool: ShapeRule = ({ input }) => [{ type: 'bool', dims: input(0).dims }];

/** One or more inputs, folded from the left. */
const arithmetic: ShapeRule = ({ node, input }) => {
  let result = input(0);
  for (let index = 1; index < node.inputs.length; index += 1) {
    const next = input(index);
    const dims = broadcastDims(result.dims, next.dims);
    const operator =
      node.opType === 'Div' ? division(result.type) : ARITHMETIC[node.opType === 'Sum' ? 'Add' : node.opType];
    result = { type: result.type, dims, constant: binaryConstant(operator, result.constant, next.constant, dims) };
  }
  return [result];
};

/** Integers divide towards zero; a division by an integer zero is not folded. */
function division(type: DataTypeName): BinaryOperator {
  const isFloat = type === 'float32' || type === 'float64';
  return {
    number: (a, b) => (isFloat ? a / b : Math.trunc(a / nonZero(b))),
    bigint: (a, b) => a / BigInt(nonZero(Number(b))),
  };
}

function nonZero(value: number): number {
  if (value === 0) throw new ShapeRuleError('divides an integer constant by zero');
  return value;
}

const logical: ShapeRule = ({ node, input }) => {
  const [a, b] = [input(0), input(1)];
  const dims = broadcastDims(a.dims, b.dims);
  return [{ type: 'bool', dims, constant: binaryConstant(LOGICAL[node.opType], a.constant, b.constant, dims, 'bool') }];
};

const where: ShapeRule = ({ input }) => {
  const [condition, a, b] = [input(0), input(1), input(2)];
  const dims = broadcastDims(condition.dims, a.dims, b.dims);
  return [{ type: a.type, dims, constant: whereConstant(condition.constant, a.constant, b.constant, dims) }];
};

const cast: ShapeRule = ({ node, input }) => [castTo(input(0), typeAttribute(node, 'to'))];

const castLike: ShapeRule = ({ input }) => [castTo(input(0), input(1).type)];

function castTo(value: ValueFacts, type: DataTypeName): ValueFacts {
  const constant = isElementType(type) ? castConstant(value.constant, type) : undefined;
  return { type, dims: value.dims, constant };
}

/** A data type attribute (`to`, `dtype`, `output_dtype`). @throws ShapeRuleError when it is missing or unknown. */
export function typeAttribute(node: Node, name: string, fallback?: DataTypeName): DataTypeName {
  const code = intAttribute(node, name, 0);
  const type = code === 0 ? fallback : dataTypeName(code);
  if (type === undefined) throw new ShapeRuleError(`has no known element type in attribute ${name}`);
  return type;
}

const quantize: ShapeRule = ({ node, input, optional }) => {
  const type = optional(2)?.type ?? typeAttribute(node, 'output_dtype', 'uint8');
  return [{ type, dims: input(0).dims }];
};

const dequantize: ShapeRule = ({ node, input }) => [
  { type: typeAttribute(node, 'output_dtype', input(1).type), dims: input(0).dims },
];

const dynamicQuantize: ShapeRule = ({ input }) => [
  { type: 'uint8', dims: input(0).dims },
  { type: 'float32', dims: [] },
  { type: 'uint8', dims: [] },
];

const dropout: ShapeRule = ({ input }) => [
  { type: input(0).type, dims: input(0).dims },
  { type: 'bool', dims: input(0).dims },
];

/** A constant of type `type` from numbers, for operators that make integers. */
export function constantFacts(
  type: ElementType & ('int64' | 'bool'),
  dims: number[],
  values: readonly number[],
): ValueFacts {
  const constant =
    type === 'int64'
      ? tensor(
          'int64',
          dims,
          BigInt64Array.from(values, (value) => BigInt(value)),
        )
      : tensor('bool', dims, Uint8Array.from(values));
  return { type, dims, constant };
}

function rows(rule: ShapeRule, ...operators: string[]): [string, ShapeRule][] {
  return operators.map((operator) => [operator, rule]);
}

export const ELEMENTWISE_RULES: ReadonlyMap<string, ShapeRule> = new Map([
  ...rows(identity, 'Identity'),
  ...rows(unary, ...Object.keys(UNARY)),
  ...rows(
    likeFirst,
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
  ),
  ...rows(
    likeFirst,
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
  ),
  ...rows(
    likeFirst,
    'Softplus',
    'Softsign',
    'ThresholdedRelu',
    'PRelu',
    'Swish',
    'Erf',
    'Reciprocal',
    'Clip',
    'BitwiseNot',
    'Shrink',
  ),
  ...rows(likeFirst, 'Softmax', 'LogSoftmax', 'Hardmax', 'CumSum', 'Trilu', 'ReverseSequence'),
  ...rows(arithmetic, 'Add', 'Sub', 'Mul', 'Div', 'Min', 'Max', 'Sum', 'Mean', 'Pow', 'Mod'),
  ...rows(arithmetic, 'BitwiseAnd', 'BitwiseOr', 'BitwiseXor', 'BitShift'),
  ...rows(logical, ...Object.keys(LOGICAL)),
  ...rows(toBool, 'IsNaN', 'IsInf'),
  ...rows(where, 'Where'),
  ...rows(cast, 'Cast'),
  ...rows(castLike, 'CastLike'),
  ...rows(quantize, 'QuantizeLinear'),
  ...rows(dequantize, 'DequantizeLinear'),
  ...rows(dynamicQuantize, 'DynamicQuantizeLinear'),
  ...rows(dropout, 'Dropout'),
]);
