import { describe, expect, it } from 'vitest';
import { checkModel } from '../../../models/onnx/check-model.js';
import { Graph, node } from '../../../models/onnx/graph.js';
import { readModel } from '../../../models/onnx/model-proto.js';
import { sortTopologically } from '../../../models/onnx/sort-topologically.js';
import { errorOf, MALFORMED } from './damaged-models.js';
import { GOLDEN_MODELS, modelBytes, openModel, ZOO_MODELS } from './onnx-models.js';

/** x → a → b → y, with nodes given in any order. */
function chain(order: readonly number[]): Graph {
  const nodes = [
    node('Relu', ['x'], ['a'], { name: 'first' }),
    node('Neg', ['a'], ['b'], { name: 'second' }),
    node('Add', ['a', 'b'], ['y'], { name: 'third' }),
  ];
  const graph = new Graph();
  graph.inputs = [{ name: 'x', type: 'float32', shape: [1] }];
  graph.outputs = [{ name: 'y', type: 'float32', shape: [1] }];
  graph.insertNodes(order.flatMap((index) => nodes[index] ?? []));
  return graph;
}

describe('checking models', () => {
  it.each([...ZOO_MODELS, ...GOLDEN_MODELS])('accepts %s', (path) => {
    expect(() => checkModel(openModel(path))).not.toThrow();
  });

  it('refuses a cyclic graph and names its nodes', () => {
    const graph = readModel(modelBytes(`${MALFORMED}/cyclic.onnx`));
    const error = errorOf(() => checkModel(graph, 'cyclic.onnx'));
    expect([error.kind, error.where]).toEqual(['InvalidModel', 'cyclic.onnx']);
    expect(error.message).toContain('wait for each other in a cycle');
    expect(errorOf(() => sortTopologically(graph)).message).toContain('has a cycle');
  });

  it('lists everything that is wrong at once', () => {
    const graph = chain([0, 1, 2]);
    graph.opset = 9;
    graph.insertNodes([
      node('Relu', ['nowhere'], ['a'], { name: 'first' }),
      node('Special', ['x'], ['z'], { name: 'special', domain: 'com.example' }),
    ]);
    graph.outputs.push({ name: 'missing', type: 'float32', shape: null });
    graph.addInitializer({ name: 'w', type: 'int4', dims: [3], raw: new Uint8Array(1) });
    const { message } = errorOf(() => checkModel(graph));
    for (const finding of [
      'opset 9 is older than 11',
      'no opset is declared for domain "com.example"',
      'nothing computes the output "missing"',
      'value "a" is defined more than once',
      'two nodes are called "first"',
      'node "first" reads "nowhere"',
      'tensor "w" has 1 bytes instead of 2',
    ]) {
      expect(message).toContain(finding);
    }
  });

  it('notices an order that reads before it computes, and sorting repairs it with as few moves as possible', () => {
    const graph = chain([2, 1, 0]);
    expect(errorOf(() => checkModel(graph)).message).toContain('not in topological order');
    sortTopologically(graph);
    expect(graph.nodes.map((one) => one.name)).toEqual(['first', 'second', 'third']);
    const sorted = openModel(ZOO_MODELS[1] ?? '');
    const before = sorted.nodes.map((one) => one.name);
    sortTopologically(sorted);
    expect(sorted.nodes.map((one) => one.name)).toEqual(before);
  });
});
