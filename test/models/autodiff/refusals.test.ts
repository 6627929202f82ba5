import { describe, expect, it } from 'vitest';
import { unsupportedOperators } from '../../../models/autodiff/build-backward.js';
import { type Attribute, attribute, node } from '../../../models/onnx/graph.js';
import { float32, int64, type Tensor, tensor } from '../../../models/tensors/tensor.js';
import { addConstant, graphOf } from './train-graph.js';

const { int, ints, float, string } = attribute;

interface Refused {
  readonly opType: string;
  /** x is what the gradient is asked for. */
  readonly inputs: readonly (Tensor | 'x' | '')[];
  readonly attributes?: Record<string, Attribute>;
  readonly because: string;
}

const scales = float32([4], [1, 1, 0.5, 0.5]);
const CASES: readonly Refused[] = [
  { opType: 'Resize', inputs: ['x', '', scales], attributes: { antialias: int(1) }, because: 'with antialias' },
  {
    opType: 'Resize',
    inputs: ['x', '', scales],
    attributes: { coordinate_transformation_mode: string('tf_crop_and_resize') },
    because: 'with tf_crop_and_resize coordinates',
  },
  {
    opType: 'Pad',
    inputs: ['x', int64([2], [-1, 2])],
    attributes: { mode: string('edge') },
    because: 'with negative pads in mode edge',
  },
  { opType: 'Pad', inputs: [float32([1], [1]), int64([2], [1, 0]), 'x'], because: 'by its input 2' },
  {
    opType: 'Dropout',
    inputs: ['x', float32([], [0.5]), tensor('bool', [], Uint8Array.of(1))],
    because: 'with training_mode',
  },
  {
    opType: 'BatchNormalization',
    inputs: ['x', 'x', 'x', float32([1], [0]), float32([1], [1])],
    attributes: { training_mode: int(1) },
    because: 'with training_mode',
  },
  {
    opType: 'Einsum',
    inputs: ['x'],
    attributes: { equation: string('ii->i') },
    because: 'with a letter twice in one term',
  },
  {
    opType: 'ScatterElements',
    inputs: ['x', int64([1], [0]), 'x'],
    attributes: { reduction: string('mul') },
    because: 'with reduction mul',
  },
  {
    opType: 'MaxPool',
    inputs: ['x'],
    attributes: { kernel_shape: ints([2, 2]), storage_order: int(1) },
    because: 'with storage_order 1',
  },
  { opType: 'Attention', inputs: ['x', 'x', 'x'], attributes: { softcap: float(5) }, because: 'with softcap' },
  {
    opType: 'Attention',
    inputs: ['x', 'x', 'x', '', float32([1], [0]), float32([1], [0])],
    because: 'with a past of keys and values',
  },
  { opType: 'LpPool', inputs: ['x'], attributes: { kernel_shape: ints([2]) }, because: '' },
  { opType: 'Loop', inputs: ['', '', 'x'], because: '' },
];

describe('uses of operators that cannot be differentiated', () => {
  it.each(CASES.map((refused) => [`${refused.opType} ${refused.because}`.trim(), refused] as const))(
    '%s is reported',
    (use, { opType, inputs, attributes = {} }) => {
      const graph = graphOf({ x: [1, 1, 4, 4] }, 23);
      const names = inputs.map((input, index) => {
        if (typeof input === 'string') return input;
        addConstant(graph, `c${index}`, input);
        return `c${index}`;
      });
      graph.insertNodes([node(opType, names, ['y'], { name: 'op', attributes })]);
      expect(unsupportedOperators(graph, 'y', ['x'])).toEqual([`${use} (1 node: op)`]);
    },
  );
});
