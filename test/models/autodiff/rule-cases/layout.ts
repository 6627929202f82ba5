import { attribute } from '../../../../models/onnx/graph.js';
import { float32, int64 } from '../../../../models/tensors/tensor.js';
import type { RuleCase } from './rule-case.js';

const { int, ints, string } = attribute;

export const LAYOUT_CASES: readonly RuleCase[] = [
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
  ...['DCR', 'CRD'].map((mode) => ({
    title: `DepthToSpace ${mode}`,
    opType: 'DepthToSpace',
    inputs: [[1, 8, 2, 3]],
    attributes: { blocksize: int(2), mode: string(mode) },
  })),
  { title: 'SpaceToDepth', opType: 'SpaceToDepth', inputs: [[1, 2, 4, 6]], attributes: { blocksize: int(2) } },
  ...['reflect', 'edge'].map((mode) => ({
    title: `Pad ${mode}`,
    opType: 'Pad',
    inputs: [[2, 4, 3], int64([6], [0, 2, 1, 0, 3, 2])],
    attributes: { mode: string(mode) },
  })),
  {
    title: 'Pad wrap',
    opType: 'Pad',
    opset: 19,
    inputs: [[3, 4], int64([4], [1, 2, 0, 3])],
    attributes: { mode: string('wrap') },
  },
  { title: 'Pad that cuts off', opType: 'Pad', inputs: [[4, 5], int64([4], [-1, 2, 1, -2])] },
  { title: 'Tile', opType: 'Tile', inputs: [[2, 1, 3], int64([3], [2, 3, 1])] },
  { title: 'Trilu', opType: 'Trilu', inputs: [[2, 3, 4]] },
  {
    title: 'Trilu below a diagonal',
    opType: 'Trilu',
    inputs: [[4, 3], int64([], [-1])],
    attributes: { upper: int(0) },
  },
];
