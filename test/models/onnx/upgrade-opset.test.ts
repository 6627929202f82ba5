import { create } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { NibbleflowError } from '../../../contracts/errors.js';
import { type Attribute, attribute, Graph, initializerFromTensor, node } from '../../../models/onnx/graph.js';
import { readModel, writeModel } from '../../../models/onnx/model-proto.js';
import {
  AttributeProto_AttributeType,
  AttributeProtoSchema,
  GraphProtoSchema,
  NodeProtoSchema,
} from '../../../models/onnx/onnx_pb.js';
import { TARGET_OPSET, upgradeOpset } from '../../../models/onnx/upgrade-opset.js';
import { int64, type Tensor } from '../../../models/tensors/tensor.js';
import { inputOf, runOnnx } from './run-onnx.js';

interface Case {
  readonly opsets: readonly number[];
  readonly opType: string;
  readonly attributes?: Record<string, Attribute>;
  readonly dims: readonly (readonly number[])[];
  /** Constant inputs behind the computed ones. */
  readonly constants?: readonly Tensor[];
  readonly outputs?: number;
  readonly changes: 'nothing' | 'something';
}

const REDUCTIONS = ['L1', 'L2', 'LogSum', 'LogSumExp', 'Max', 'Mean', 'Min', 'Prod', 'SumSquare'];
const axes = (...values: number[]): Record<string, Attribute> => ({ axes: attribute.ints(values) });
const cube = [[2, 3, 4]];

const CASES: readonly Case[] = [
  { opsets: [11, 12], opType: 'Squeeze', attributes: axes(0, 2), dims: [[1, 3, 1]], changes: 'something' },
  { opsets: [11], opType: 'Squeeze', dims: [[1, 3, 1]], changes: 'nothing' },
  { opsets: [11], opType: 'Unsqueeze', attributes: axes(0, -1), dims: [[3, 2]], changes: 'something' },
  { opsets: [11], opType: 'ReduceSum', attributes: axes(-1), dims: cube, changes: 'something' },
  { opsets: [11], opType: 'ReduceSum', attributes: { keepdims: attribute.int(0) }, dims: cube, changes: 'nothing' },
  { opsets: [13, 17], opType: 'ReduceSum', dims: cube, constants: [int64([1], [1])], changes: 'nothing' },
  ...REDUCTIONS.map(
    (name): Case => ({
      opsets: [11, 13, 17],
      opType: `Reduce${name}`,
      attributes: { ...axes(0, 2), keepdims: attribute.int(0) },
      dims: cube,
      changes: 'something',
    }),
  ),
  ...REDUCTIONS.map((name): Case => ({ opsets: [11, 17], opType: `Reduce${name}`, dims: cube, changes: 'nothing' })),
  {
    opsets: [11],
    opType: 'Split',
    attributes: { axis: attribute.int(2), split: attribute.ints([1, 3]) },
    dims: cube,
    outputs: 2,
    changes: 'something',
  },
  {
    opsets: [11, 13, 17],
    opType: 'Split',
    attributes: { axis: attribute.int(-1) },
    dims: cube,
    outputs: 2,
    changes: 'something',
  },
  {
    opsets: [13, 17],
    opType: 'Split',
    attributes: { axis: attribute.int(1) },
    dims: cube,
    constants: [int64([2], [2, 1])],
    outputs: 2,
    changes: 'nothing',
  },
  ...['Softmax', 'LogSoftmax', 'Hardmax'].flatMap((opType): Case[] => [
    { opsets: [11], opType, attributes: { axis: attribute.int(-1) }, dims: cube, changes: 'nothing' },
    { opsets: [11], opType, attributes: { axis: attribute.int(2) }, dims: cube, changes: 'something' },
    { opsets: [11], opType, dims: [[3, 5]], changes: 'something' },
    { opsets: [13, 17], opType, attributes: { axis: attribute.int(1) }, dims: cube, changes: 'nothing' },
  ]),
  { opsets: [11], opType: 'Dropout', attributes: { ratio: attribute.float(0.3) }, dims: cube, changes: 'something' },
  { opsets: [12, 13, 17], opType: 'Dropout', dims: cube, changes: 'nothing' },
  ...['bilinear', 'bicubic', 'nearest'].map(
    (mode): Case => ({
      opsets: [17],
      opType: 'GridSample',
      attributes: { mode: attribute.string(mode) },
      dims: [
        [1, 2, 4, 4],
        [1, 3, 3, 2],
      ],
      changes: mode === 'nearest' ? 'nothing' : 'something',
    }),
  ),
  {
    opsets: [17],
    opType: 'GridSample',
    dims: [
      [1, 2, 4, 4],
      [1, 3, 3, 2],
    ],
    changes: 'something',
  },
  { opsets: [11, 13, 17], opType: 'Clip', dims: cube, changes: 'nothing' },
  {
    opsets: [11, 13, 17],
    opType: 'MaxPool',
    attributes: { kernel_shape: attribute.ints([2]) },
    dims: cube,
    changes: 'nothing',
  },
];

function graphOf(one: Case, opset: number): Graph {
  const graph = new Graph();
  graph.opset = opset;
  graph.inputs = one.dims.map((shape, index) => ({ name: `x${index}`, type: 'float32', shape }));
  for (const [index, constant] of (one.constants ?? []).entries()) {
    graph.addInitializer(initializerFromTensor(`c${index}`, constant));
  }
  for (const input of graph.inputs) graph.valueInfos.set(input.name, input);
  const inputs = [...graph.inputs.map((input) => input.name), ...graph.initializers.keys()];
  const outputs = Array.from({ length: one.outputs ?? 1 }, (_, index) => `y${index}`);
  graph.nodes = [node(one.opType, inputs, outputs, { name: 'it', attributes: one.attributes ?? {} })];
  graph.outputs = outputs.map((name) => ({ name, type: 'float32', shape: null }));
  return graph;
}

function shapeOf({ nodes }: Graph): unknown {
  return nodes.map((each) => [each.opType, each.inputs.length, [...each.attributes]]);
}

describe('upgradeOpset', () => {
  for (const one of CASES) {
    const settings = [...Object.keys(one.attributes ?? {}), one.constants === undefined ? '' : 'an input'];
    const how = settings.filter((each) => each !== '').join(', ') || 'no settings';
    it(`keeps the bits of ${one.opType} with ${how} from opset ${one.opsets.join(', ')}`, async () => {
      const feeds = Object.fromEntries(
        one.dims.map((dims, index) => [`x${index}`, positive(inputOf('float32', dims))]),
      );
      for (const opset of one.opsets) {
        const old = graphOf(one, opset);
        const before = await runOnnx(writeModel(old), feeds);
        const upgraded = readModel(writeModel(old));
        for (const input of upgraded.inputs) upgraded.valueInfos.set(input.name, input);
        upgradeOpset(upgraded);
        expect(upgraded.opset).toBe(TARGET_OPSET);
        expect(await runOnnx(writeModel(upgraded), feeds)).toEqual(before);
        const changed = JSON.stringify(shapeOf(upgraded)) !== JSON.stringify(shapeOf(old));
        expect(changed).toBe(one.changes === 'something');
      }
    });
  }

  it('refuses what means something else now, all of it in one message', () => {
    const graph = new Graph();
    graph.opset = 11;
    graph.inputs = [{ name: 'x', type: 'float32', shape: [2, 3, 4] }];
    graph.nodes = [
      node('Softmax', ['x'], ['a'], { name: 'flat', attributes: { axis: attribute.int(1) } }),
      node('Upsample', ['a'], ['b'], { name: 'up' }),
      node('GroupNormalization', ['b'], ['c'], { name: 'group' }),
      node('DFT', ['c'], ['d'], { name: 'dft' }),
      node('Resize', ['d'], ['e'], {
        name: 'resize',
        attributes: { coordinate_transformation_mode: attribute.string('tf_half_pixel_for_nn') },
      }),
    ];
    const message = messageOf(graph);
    for (const name of ['Softmax flat', 'Upsample up', 'GroupNormalization group', 'DFT dft', 'Resize resize']) {
      expect(message).toContain(name);
    }
    expect(graph.opset).toBe(11);
  });

  it('refuses bodies of If with operators that would have to be rewritten, and takes others', () => {
    const withBody = (operator: string): Graph => {
      const body = create(GraphProtoSchema, { node: [create(NodeProtoSchema, { opType: operator, output: ['z'] })] });
      const type = AttributeProto_AttributeType.GRAPH;
      const value = create(AttributeProtoSchema, { name: 'then_branch', type, g: body });
      const graph = new Graph();
      graph.opset = 17;
      graph.nodes = [node('If', ['c'], ['y'], { name: 'if', attributes: { then_branch: { kind: 'opaque', value } } })];
      return graph;
    };
    expect(messageOf(withBody('ReduceMean'))).toContain('If if: its body has ReduceMean');
    const fine = withBody('Relu');
    upgradeOpset(fine);
    expect(fine.opset).toBe(TARGET_OPSET);
  });

  it('leaves newer graphs and operators of other domains alone', () => {
    const graph = new Graph();
    graph.opset = 22;
    upgradeOpset(graph);
    expect(graph.opset).toBe(22);
    graph.opset = 17;
    graph.nodes = [node('Upsample', ['x'], ['y'], { name: 'own', domain: 'com.example' })];
    upgradeOpset(graph);
    expect(graph.nodes[0]?.opType).toBe('Upsample');
  });
});

/** Logarithms of sums need them. */
function positive(value: Tensor): Tensor {
  return { ...value, data: (value.data as Float32Array).map((each) => Math.abs(each) + 0.1) };
}

function messageOf(graph: Graph): string {
  try {
    upgradeOpset(graph);
  } catch (error) {
    if (error instanceof NibbleflowError) return error.message;
    throw error;
  }
  throw new Error('nothing was thrown');
}
