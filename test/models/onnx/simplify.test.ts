import { create } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { Graph, initializerFromTensor, type Node, node } from '../../../models/onnx/graph.js';
import { readModel, writeModel } from '../../../models/onnx/model-proto.js';
import {
  AttributeProto_AttributeType,
  AttributeProtoSchema,
  GraphProtoSchema,
  NodeProtoSchema,
} from '../../../models/onnx/onnx_pb.js';
import { distinctBindings } from '../../../models/onnx/simplify/distinct-bindings.js';
import { type Binding, simplifyGraph } from '../../../models/onnx/simplify.js';
import { isElementType } from '../../../models/onnx/tensor-from-initializer.js';
import { bytesFromTensor, float32, type Tensor } from '../../../models/tensors/tensor.js';
import { errorOf } from './damaged-models.js';
import { GOLDEN_MODELS, openModel, smallDims, ZOO_MODELS } from './onnx-models.js';
import { inputOf, runOnnx } from './run-onnx.js';

const UNET = 'models/zoo/emoji-t2i/unet/model.onnx';
const TEXT_ENCODER = 'models/zoo/emoji-t2i/text_encoder/model.onnx';

function feedsFor(graph: Graph, dims: Binding): Record<string, Tensor> {
  return Object.fromEntries(
    graph.inputs.map(({ name, type }) => {
      if (!isElementType(type)) throw new Error(`input ${name} is ${type}`);
      return [name, inputOf(type, dims[name] ?? [])];
    }),
  );
}

async function expectSameBits(original: Graph, simplified: Graph, dims: Binding): Promise<void> {
  const feeds = feedsFor(original, dims);
  const expected = await runOnnx(writeModel(original), feeds);
  const actual = await runOnnx(writeModel(simplified), feeds);
  expect(Object.keys(actual)).toEqual(Object.keys(expected));
  for (const [name, value] of Object.entries(expected)) {
    expect(actual[name]?.dims).toEqual(value.dims);
    expect(Buffer.compare(bytesFromTensor(actual[name] as Tensor), bytesFromTensor(value)), name).toBe(0);
  }
}

/** Bytes of everything but the constants' data. */
function graphBytes(graph: Graph): number {
  const data = [...graph.initializers.values()].reduce((sum, one) => sum + one.raw.byteLength, 0);
  return writeModel(graph).byteLength - data;
}

/** x [batch, 3] → y, with constants zero, one and a flag. */
function smallGraph(nodes: Node[]): Graph {
  const graph = new Graph();
  graph.inputs = [{ name: 'x', type: 'float32', shape: ['batch', 3] }];
  graph.outputs = [{ name: 'y', type: 'float32', shape: ['batch', 3] }];
  graph.addInitializer(initializerFromTensor('zero', float32([], [0])));
  graph.addInitializer(initializerFromTensor('one', float32([1], [1])));
  graph.addInitializer({ name: 'flag', type: 'bool', dims: [], raw: Uint8Array.of(1) });
  graph.insertNodes(nodes);
  return graph;
}

describe('simplifying', () => {
  it.each([
    ['with the short timestep', { batch: 1, batch_size: 1, steps: 1, height: 16, width: 16, sequence_length: 16 }],
    ['with one timestep per sample', { batch: 3, batch_size: 3, steps: 3, height: 16, width: 16, sequence_length: 16 }],
    [
      'with one timestep for a batch at another size',
      { batch_size: 4, steps: 1, height: 12, width: 20, sequence_length: 9 },
    ],
  ])('leaves every output bit of the zoo denoiser as it was %s', async (_, sizes) => {
    const simplified = openModel(UNET);
    simplifyGraph(simplified, distinctBindings(simplified), { shortNames: true });
    await expectSameBits(openModel(UNET), simplified, smallDims(simplified, sizes));
  });

  it.each([
    { batch_size: 1, sequence_length: 16 },
    { batch_size: 6, sequence_length: 11 },
  ])('leaves every output bit of the text encoder as it was for %o', async (sizes) => {
    const simplified = openModel(TEXT_ENCODER);
    simplifyGraph(simplified, distinctBindings(simplified));
    await expectSameBits(openModel(TEXT_ENCODER), simplified, smallDims(simplified, sizes));
  });

  it.each([...ZOO_MODELS, ...GOLDEN_MODELS])('leaves every output bit of %s as it was', async (path) => {
    const simplified = openModel(path);
    simplifyGraph(simplified, distinctBindings(simplified));
    await expectSameBits(openModel(path), simplified, smallDims(simplified));
  });

  it('makes the graph of the zoo denoiser smaller than 200 kB', () => {
    const graph = openModel(UNET);
    const before = graphBytes(graph);
    simplifyGraph(graph, distinctBindings(graph), { shortNames: true });
    expect(before).toBeGreaterThan(400_000);
    expect(graphBytes(graph)).toBeLessThan(200_000);
  });

  it('keeps parameters, boundaries and node names when it shortens value names', () => {
    const original = openModel(UNET);
    const graph = original.clone();
    simplifyGraph(graph, distinctBindings(graph), { shortNames: true });
    const names = new Set(original.nodes.map((node) => node.name));
    expect(graph.nodes.every((node) => names.has(node.name))).toBe(true);
    expect([graph.inputs, graph.outputs]).toEqual([original.inputs, original.outputs]);
    expect([...original.initializers.keys()].filter((name) => !graph.initializers.has(name))).toEqual([]);
  });

  it('gives the same bytes when it is done twice', () => {
    const graph = openModel(UNET);
    simplifyGraph(graph, distinctBindings(graph), { shortNames: true });
    const once = writeModel(graph);
    const again = readModel(once);
    simplifyGraph(again, distinctBindings(again), { shortNames: true });
    expect(Buffer.compare(writeModel(again), once)).toBe(0);
  });

  it('leaves additions of zero where a negative zero could be seen, and merges no random numbers', () => {
    const graph = smallGraph([
      node('Add', ['x', 'zero'], ['a'], { name: 'add' }),
      node('Sub', ['a', 'zero'], ['b'], { name: 'sub' }),
      node('RandomNormalLike', ['b'], ['c'], { name: 'noise1' }),
      node('RandomNormalLike', ['b'], ['d'], { name: 'noise2' }),
      node('Add', ['c', 'd'], ['y'], { name: 'sum' }),
    ]);
    simplifyGraph(graph, [{ x: [2, 3] }, { x: [5, 3] }]);
    expect(graph.nodes.map((one) => one.name)).toEqual(['add', 'noise1', 'noise2', 'sum']);
  });

  it('removes what does nothing and does equal work once', () => {
    const graph = smallGraph([
      node('Identity', ['x'], ['a'], { name: 'identity' }),
      node('Mul', ['a', 'one'], ['b'], { name: 'times_one' }),
      node('Add', ['b', 'zero'], ['s'], { name: 'plus_zero' }),
      node('Softmax', ['s'], ['p'], { name: 'softmax' }),
      node('Exp', ['b'], ['e1'], { name: 'exp1' }),
      node('Exp', ['x'], ['e2'], { name: 'exp2' }),
      node('Mul', ['e1', 'e2'], ['m'], { name: 'square' }),
      node('Add', ['p', 'm'], ['y'], { name: 'sum' }),
    ]);
    simplifyGraph(graph, [{ x: [2, 3] }, { x: [5, 3] }]);
    expect(graph.nodes.map((one) => `${one.name}(${one.inputs})`)).toEqual([
      'softmax(x)',
      'exp1(x)',
      'square(e1,e1)',
      'sum(p,m)',
    ]);
  });

  it('keeps what subgraphs read under its name', () => {
    const reads = create(NodeProtoSchema, { opType: 'Relu', input: ['inner'], output: ['z'] });
    const body = create(GraphProtoSchema, { node: [reads] });
    const value = create(AttributeProtoSchema, {
      name: 'then_branch',
      type: AttributeProto_AttributeType.GRAPH,
      g: body,
    });
    const graph = smallGraph([
      node('Identity', ['x'], ['inner'], { name: 'identity' }),
      node('If', ['flag'], ['y'], { name: 'if', attributes: { then_branch: { kind: 'opaque', value } } }),
    ]);
    graph.valueInfos.set('y', { name: 'y', type: 'float32', shape: [2, 3] });
    simplifyGraph(graph, [{ x: [2, 3] }, { x: [5, 3] }], { shortNames: true });
    expect(graph.nodes.map((one) => `${one.name}(${one.inputs}) -> ${one.outputs}`)).toEqual([
      'identity(x) -> inner',
      'if(flag) -> y',
    ]);
  });

  it('finds sizes that differ for every symbolic dim', () => {
    expect(distinctBindings(openModel(UNET))).toEqual([
      { sample: [2, 12, 8, 24], timestep: [1], encoder_hidden_states: [2, 13, 64] },
      { sample: [5, 12, 40, 56], timestep: [1], encoder_hidden_states: [5, 16, 64] },
      { sample: [5, 12, 40, 56], timestep: [5], encoder_hidden_states: [5, 16, 64] },
    ]);
  });

  it('asks for two bindings', () => {
    expect(errorOf(() => simplifyGraph(smallGraph([]), [{ x: [2, 3] }])).kind).toBe('InvalidInput');
  });
});
