import { type Attribute, attribute } from '../../../../models/onnx/graph.js';
import type { RuleCase } from './rule-case.js';

const { int, ints, string } = attribute;

const pool = (title: string, x: readonly number[], more: Record<string, Attribute>): RuleCase[] =>
  ['AveragePool', 'MaxPool'].map((opType) => ({
    title: `${opType} ${title}`,
    opType,
    inputs: [x],
    attributes: more,
    values: 'apart',
  }));

export const POOL_CASES: readonly RuleCase[] = [
  ...pool('2×2', [2, 2, 4, 6], { kernel_shape: ints([2, 2]), strides: ints([2, 2]) }),
  ...pool('3×2 that overlaps', [1, 2, 5, 4], { kernel_shape: ints([3, 2]) }),
  ...pool('3×3 with pads', [1, 2, 5, 4], {
    kernel_shape: ints([3, 3]),
    strides: ints([2, 2]),
    pads: ints([1, 1, 1, 0]),
  }),
  ...pool('that rounds up', [1, 1, 6, 5], {
    kernel_shape: ints([3, 2]),
    strides: ints([2, 2]),
    ceil_mode: int(1),
  }),
  ...pool('padded automatically', [1, 2, 5, 4], {
    kernel_shape: ints([2, 3]),
    strides: ints([2, 2]),
    auto_pad: string('SAME_LOWER'),
  }),
  ...pool('in one dimension', [2, 2, 7], { kernel_shape: ints([3]), strides: ints([2]) }),
  {
    title: 'MaxPool dilated',
    opType: 'MaxPool',
    inputs: [[1, 2, 6, 6]],
    values: 'apart',
    attributes: { kernel_shape: ints([2, 2]), dilations: ints([2, 3]) },
  },
  {
    title: 'MaxPool with indices',
    opType: 'MaxPool',
    inputs: [[1, 2, 4, 4]],
    unread: 1,
    values: 'apart',
    attributes: { kernel_shape: ints([3, 3]), strides: ints([1, 1]) },
  },
  {
    title: 'AveragePool that counts its pads',
    opType: 'AveragePool',
    inputs: [[1, 2, 5, 4]],
    attributes: {
      kernel_shape: ints([3, 3]),
      strides: ints([2, 2]),
      pads: ints([1, 1, 1, 1]),
      count_include_pad: int(1),
    },
  },
  {
    title: 'AveragePool dilated',
    opType: 'AveragePool',
    opset: 19,
    inputs: [[1, 2, 6, 6]],
    attributes: { kernel_shape: ints([2, 2]), dilations: ints([2, 3]) },
  },
  { title: 'GlobalAveragePool', opType: 'GlobalAveragePool', inputs: [[2, 3, 4, 2]] },
  { title: 'GlobalMaxPool', opType: 'GlobalMaxPool', inputs: [[2, 3, 4, 2]], values: 'apart' },
];
