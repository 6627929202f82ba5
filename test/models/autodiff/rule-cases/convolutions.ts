import { type Attribute, attribute } from '../../../../models/onnx/graph.js';
import type { RuleCase } from './rule-case.js';

const { int, ints, string } = attribute;

const conv = (
  title: string,
  x: number[],
  w: number[],
  more: Record<string, Attribute>,
  opType = 'Conv',
  bias = w[0] ?? 1,
): RuleCase => ({ title: `${opType} ${title}`, opType, inputs: [x, w, [bias]], attributes: more });

export const CONVOLUTION_CASES: readonly RuleCase[] = [
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
  conv('padded above', [1, 3, 6, 5], [2, 3, 2, 3], { auto_pad: string('SAME_UPPER'), strides: ints([1, 2]) }),
  conv('without pads by name', [1, 3, 6, 5], [2, 3, 2, 3], { auto_pad: string('VALID'), dilations: ints([2, 1]) }),
  conv('with one channel per group', [2, 3, 5, 4], [3, 1, 3, 2], { group: int(3), pads: ints([1, 0, 1, 1]) }),
  conv('strided and dilated', [2, 3, 8, 7], [2, 3, 3, 2], {
    strides: ints([2, 2]),
    dilations: ints([2, 3]),
    pads: ints([1, 0, 2, 1]),
  }),
  conv('in three dimensions', [1, 2, 4, 3, 4], [3, 2, 2, 3, 2], {
    pads: ints([1, 1, 0, 0, 1, 1]),
    strides: ints([1, 1, 2]),
  }),
  conv('in one dimension', [2, 3, 4], [3, 2, 3], { strides: ints([2]), pads: ints([1, 0]) }, 'ConvTranspose', 2),
  conv(
    'in three dimensions',
    [1, 2, 2, 3, 2],
    [2, 3, 2, 2, 3],
    { strides: ints([2, 1, 2]), pads: ints([0, 1, 1, 1, 0, 1]) },
    'ConvTranspose',
    3,
  ),
  conv(
    'dilated with uneven pads',
    [2, 2, 4, 3],
    [2, 3, 3, 2],
    { dilations: ints([2, 3]), strides: ints([1, 2]), pads: ints([2, 0, 1, 2]) },
    'ConvTranspose',
    3,
  ),
  ...['SAME_UPPER', 'SAME_LOWER', 'VALID'].map((mode) =>
    conv(
      `padded by ${mode}`,
      [1, 2, 3, 4],
      [2, 3, 3, 4],
      { auto_pad: string(mode), strides: ints([2, 3]) },
      'ConvTranspose',
      3,
    ),
  ),
  conv(
    'to a given shape',
    [1, 2, 3, 4],
    [2, 3, 4, 3],
    { output_shape: ints([7, 8]), strides: ints([2, 2]) },
    'ConvTranspose',
    3,
  ),
];
