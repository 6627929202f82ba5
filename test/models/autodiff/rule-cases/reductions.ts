import { attribute } from '../../../../models/onnx/graph.js';
import { int64 } from '../../../../models/tensors/tensor.js';
import type { CaseValues, RuleCase } from './rule-case.js';

const { int, ints } = attribute;

const reduce = (opType: string, values: CaseValues = 'smooth'): RuleCase[] => [
  { title: `${opType} of everything`, opType, inputs: [[2, 3, 2]], values, attributes: { keepdims: int(0) } },
];
const axesInput = (opType: string, values: CaseValues = 'smooth'): RuleCase => {
  return { title: `${opType} over an axis input`, opType, opset: 18, inputs: [[2, 3, 4], int64([1], [-2])], values };
};
const axesAttribute = (opType: string, values: CaseValues = 'smooth'): RuleCase => {
  const attributes = { axes: ints([0, 2]), keepdims: int(0) };
  return { title: `${opType} over an axes attribute`, opType, inputs: [[2, 3, 4]], values, attributes };
};

export const REDUCTION_CASES: readonly RuleCase[] = [
  ...['ReduceSum', 'ReduceMean', 'ReduceSumSquare'].flatMap((opType) => reduce(opType)),
  ...['ReduceMax', 'ReduceMin'].flatMap((opType) => reduce(opType, 'apart')),
  axesInput('ReduceSum'),
  axesInput('ReduceMean'),
  axesInput('ReduceMax', 'apart'),
  axesAttribute('ReduceMean'),
  axesAttribute('ReduceMin', 'apart'),
  { title: 'Softmax', opType: 'Softmax', inputs: [[2, 3, 4]] },
  { title: 'Softmax over an inner axis', opType: 'Softmax', inputs: [[2, 3, 4]], attributes: { axis: int(1) } },
  ...['ReduceL1', 'ReduceProd'].flatMap((opType) => reduce(opType, 'apart')),
  ...['ReduceL2', 'ReduceLogSumExp'].flatMap((opType) => reduce(opType)),
  ...reduce('ReduceLogSum', 'positive'),
  axesInput('ReduceL1', 'apart'),
  axesInput('ReduceL2'),
  axesInput('ReduceProd', 'positive'),
  axesInput('ReduceLogSum', 'positive'),
  axesAttribute('ReduceL2'),
  axesAttribute('ReduceLogSumExp'),
  axesAttribute('ReduceProd', 'positive'),
  {
    title: 'ReduceSum of nothing',
    opType: 'ReduceSum',
    inputs: [[2, 3]],
    attributes: { noop_with_empty_axes: int(1) },
  },
  ...['Softmax', 'LogSoftmax'].flatMap((opType) => [
    { title: `${opType} by default at opset 11`, opType, opset: 11, inputs: [[2, 3, 4]] },
    {
      title: `${opType} over the last axis at opset 12`,
      opType,
      opset: 12,
      inputs: [[2, 3, 4]],
      attributes: { axis: int(-1) },
    },
    { title: `${opType} of everything at opset 12`, opType, opset: 12, inputs: [[3, 4]], attributes: { axis: int(0) } },
  ]),
  { title: 'LogSoftmax', opType: 'LogSoftmax', inputs: [[2, 3, 4]] },
  { title: 'LogSoftmax over an inner axis', opType: 'LogSoftmax', inputs: [[2, 3, 4]], attributes: { axis: int(1) } },
  { title: 'CumSum', opType: 'CumSum', inputs: [[2, 4, 3], int64([], [1])] },
  {
    title: 'CumSum exclusive and in reverse',
    opType: 'CumSum',
    inputs: [[2, 4, 3], int64([], [-1])],
    attributes: { exclusive: int(1), reverse: int(1) },
  },
];
