import { attribute } from '../../../../models/onnx/graph.js';
import { float32, int64, tensor } from '../../../../models/tensors/tensor.js';
import type { CaseValues, RuleCase } from './rule-case.js';

const { int } = attribute;

const pair = (opType: string, values: CaseValues = 'smooth'): RuleCase[] => [
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

export const ARITHMETIC_CASES: readonly RuleCase[] = [
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
  ...['Max', 'Min'].map(
    (opType): RuleCase => ({
      title: `${opType} of three`,
      opType,
      inputs: [[2, 3], [3], [2, 1]],
      values: 'apart',
    }),
  ),
  { title: 'Mean of three', opType: 'Mean', inputs: [[2, 3], [3], [2, 1]] },
  {
    title: 'Mod by a constant',
    opType: 'Mod',
    inputs: [[2, 3], float32([1], [1.4])],
    values: 'large',
    attributes: { fmod: int(1) },
  },
  {
    title: 'Mod of a constant',
    opType: 'Mod',
    inputs: [float32([2, 1], [2.6, -2.55]), [3]],
    values: 'large',
    attributes: { fmod: int(1) },
  },
  ...pair('Pow', 'positive'),
  { title: 'Pow 0', opType: 'Pow', inputs: [[2, 3], float32([], [0])] },
  { title: 'Pow by an integer', opType: 'Pow', inputs: [[2, 3], int64([], [3])] },
  { title: 'Pow by different constants', opType: 'Pow', inputs: [[2, 3], float32([3], [0, 1, 2])] },
  { title: 'Pow by different integers', opType: 'Pow', inputs: [[2, 3], int64([3], [0, 3, 2])] },
  { title: 'Pow of a constant', opType: 'Pow', inputs: [float32([], [1.75]), [2, 3]] },
  {
    title: 'PRelu',
    opType: 'PRelu',
    inputs: [
      [2, 3, 4],
      [3, 1],
    ],
    values: 'apart',
  },
  { title: 'PRelu with one slope', opType: 'PRelu', inputs: [[2, 3], [1]], values: 'apart' },
];
