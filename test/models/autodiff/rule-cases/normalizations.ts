import { attribute } from '../../../../models/onnx/graph.js';
import { float32 } from '../../../../models/tensors/tensor.js';
import type { RuleCase } from './rule-case.js';

const { float, int, ints } = attribute;

export const NORMALIZATION_CASES: readonly RuleCase[] = [
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
    float32Because: 'stash_type 1 computes mean and variance in float32',
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
  { title: 'RMSNormalization', opType: 'RMSNormalization', opset: 23, inputs: [[2, 3, 6], [6]] },
  {
    title: 'RMSNormalization over two axes',
    opType: 'RMSNormalization',
    opset: 23,
    inputs: [[2, 3, 4], [4]],
    attributes: { axis: int(1), epsilon: float(0.01) },
  },
  { title: 'LpNormalization', opType: 'LpNormalization', inputs: [[3, 4, 2]], attributes: { axis: int(1) } },
  {
    title: 'LpNormalization by absolute values',
    opType: 'LpNormalization',
    inputs: [[3, 4]],
    values: 'apart',
    attributes: { p: int(1) },
  },
  { title: 'MeanVarianceNormalization', opType: 'MeanVarianceNormalization', inputs: [[2, 3, 4, 2]] },
  {
    title: 'MeanVarianceNormalization over chosen axes',
    opType: 'MeanVarianceNormalization',
    inputs: [[2, 3, 4]],
    attributes: { axes: ints([2]) },
  },
  {
    title: 'BatchNormalization in inference',
    opType: 'BatchNormalization',
    inputs: [[2, 3, 4, 2], [3], [3], float32([3], [0.5, -1, 0]), float32([3], [0.5, 1, 2])],
    attributes: { epsilon: float(0.01) },
  },
];
