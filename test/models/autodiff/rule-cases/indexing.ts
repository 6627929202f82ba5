import { attribute } from '../../../../models/onnx/graph.js';
import { int64 } from '../../../../models/tensors/tensor.js';
import type { RuleCase } from './rule-case.js';

const { int, string } = attribute;

export const INDEXING_CASES: readonly RuleCase[] = [
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
  {
    title: 'GatherElements with repeats',
    opType: 'GatherElements',
    inputs: [[3, 4], int64([2, 4], [0, 2, 2, 1, 0, -1, 0, 1])],
  },
  {
    title: 'GatherElements on the last axis',
    opType: 'GatherElements',
    inputs: [[2, 4], int64([2, 3], [3, 3, 0, 1, -2, 1])],
    attributes: { axis: int(-1) },
  },
  {
    title: 'GatherElements before scattering could add',
    opType: 'GatherElements',
    opset: 13,
    inputs: [[3, 2, 4], int64([2, 2, 3], [0, 2, 2, 1, 0, 2, 0, 1, 0, 0, 2, 2])],
  },
  { title: 'GatherND of rows', opType: 'GatherND', inputs: [[3, 4, 2], int64([3, 1], [2, 0, 2])] },
  { title: 'GatherND of elements', opType: 'GatherND', inputs: [[3, 4], int64([3, 2], [2, 1, 0, -1, 2, 1])] },
  {
    title: 'GatherND within batches',
    opType: 'GatherND',
    inputs: [[2, 3, 4, 2], int64([2, 2, 2], [2, 1, 0, 3, 1, 1, 1, 1])],
    attributes: { batch_dims: int(1) },
  },
  { title: 'TopK', opType: 'TopK', inputs: [[3, 5], int64([1], [2])], unread: 1, values: 'apart' },
  {
    title: 'TopK smallest on the first axis',
    opType: 'TopK',
    inputs: [[4, 3], int64([1], [3])],
    unread: 1,
    values: 'apart',
    attributes: { axis: int(0), largest: int(0) },
  },
  {
    title: 'ScatterElements',
    opType: 'ScatterElements',
    inputs: [[3, 4], int64([2, 4], [0, 2, 1, 1, 2, 0, 0, 2]), [2, 4]],
  },
  {
    title: 'ScatterElements that adds',
    opType: 'ScatterElements',
    inputs: [[2, 4], int64([2, 3], [1, 1, 0, 3, 3, -1]), [2, 3]],
    attributes: { axis: int(1), reduction: string('add') },
  },
  { title: 'ScatterND of rows', opType: 'ScatterND', inputs: [[4, 3], int64([2, 1], [3, 1]), [2, 3]] },
  {
    title: 'ScatterND that adds elements',
    opType: 'ScatterND',
    inputs: [[3, 4], int64([3, 2], [0, 1, 2, 3, 0, 1]), [3]],
    attributes: { reduction: string('add') },
  },
];
