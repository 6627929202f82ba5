import { attribute } from '../../../../models/onnx/graph.js';
import { float32 } from '../../../../models/tensors/tensor.js';
import type { CaseValues, RuleCase } from './rule-case.js';

const { float, int, string } = attribute;

const unary = (opType: string, values: CaseValues = 'smooth'): RuleCase => {
  return { title: opType, opType, inputs: [[3, 5]], values };
};

export const ACTIVATION_CASES: readonly RuleCase[] = [
  ...['Identity', 'Neg', 'Exp', 'Sin', 'Cos', 'Tanh', 'Sigmoid', 'Erf'].map((opType) => unary(opType)),
  ...['Log', 'Sqrt', 'Reciprocal'].map((opType) => unary(opType, 'positive')),
  ...['Relu', 'Abs', 'LeakyRelu'].map((opType) => unary(opType, 'apart')),
  { title: 'Clip', opType: 'Clip', inputs: [[4, 5], float32([], [-0.5]), float32([], [0.6])], values: 'apart' },
  { title: 'Clip without a minimum', opType: 'Clip', inputs: [[4, 5], null, float32([], [0.2])], values: 'apart' },
  { title: 'Gelu', opType: 'Gelu', inputs: [[3, 5]], opset: 20 },
  {
    title: 'Gelu tanh',
    float32Because: 'its constants are float32 numbers',
    opType: 'Gelu',
    inputs: [[3, 5]],
    opset: 20,
    attributes: { approximate: string('tanh') },
  },
  { title: 'Cast to double', opType: 'Cast', inputs: [[2, 3]], attributes: { to: int(11) } },
  ...['Atan', 'Sinh', 'Cosh', 'Asinh', 'Softplus', 'Softsign'].map((opType) => unary(opType)),
  ...['Tan', 'Asin', 'Acos', 'Atanh'].map((opType) => unary(opType, 'small')),
  unary('Acosh', 'large'),
  ...['Elu', 'Selu', 'Celu', 'ThresholdedRelu', 'HardSigmoid'].map((opType) => unary(opType, 'apart')),
  ...['Elu', 'Celu', 'ThresholdedRelu'].map((opType) => ({
    ...unary(opType, 'apart'),
    title: `${opType} with alpha`,
    attributes: { alpha: float(0.3) },
  })),
  {
    title: 'Selu with its own constants',
    opType: 'Selu',
    inputs: [[3, 5]],
    values: 'apart',
    attributes: { alpha: float(1.5), gamma: float(2) },
  },
  {
    title: 'HardSigmoid with slope and shift',
    opType: 'HardSigmoid',
    inputs: [[3, 5]],
    values: 'apart',
    attributes: { alpha: float(1.25), beta: float(0.5) },
  },
  { title: 'HardSwish', opType: 'HardSwish', inputs: [[9, 10]], values: 'apart' },
  { title: 'Mish', opType: 'Mish', inputs: [[3, 5]], opset: 18 },
  { title: 'Swish', opType: 'Swish', inputs: [[3, 5]], opset: 24 },
  { title: 'Swish with alpha', opType: 'Swish', inputs: [[3, 5]], opset: 24, attributes: { alpha: float(1.75) } },
  { title: 'CastLike', opType: 'CastLike', inputs: [[2, 3], float32([1], [0])] },
  { title: 'Dropout in inference', opType: 'Dropout', inputs: [[2, 3], float32([], [0.5])] },
];
