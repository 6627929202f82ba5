import { describe, expect, it } from 'vitest';
import { buildBackward, unsupportedOperators } from '../../../models/autodiff/build-backward.js';
import { makeTrainable } from '../../../models/autodiff/trainable-inputs.js';
import { attribute, type Graph, node } from '../../../models/onnx/graph.js';
import { inferShapes } from '../../../models/onnx/shape-inference.js';
import { float32, int64, type Tensor } from '../../../models/tensors/tensor.js';
import { addConstant, differentiate, graphOf, maxAbsDifference, openGraph, runGraph } from './train-graph.js';

/** Values and slopes of order 1, each rounded to 11 bits. */
const HALF_TOLERANCE = 2e-3;

function chain(graph: Graph, steps: readonly (readonly [string, string[], string])[]): void {
  graph.insertNodes(steps.map(([opType, inputs, output]) => node(opType, inputs, [output], { name: output })));
}

/** loss = Σ tanh(w·x) + Σ w, with a detour of x through integers. */
function branching(): Graph {
  const graph = graphOf({ x: [2, 3], w: [2, 3] });
  chain(graph, [
    ['Mul', ['w', 'x'], 'product'],
    ['Tanh', ['product'], 'bent'],
    ['Add', ['bent', 'w'], 'total'],
    ['Shape', ['total'], 'shape'],
    ['Reshape', ['total', 'shape'], 'same'],
    ['ReduceSum', ['same'], 'sum'],
    ['Squeeze', ['sum'], 'loss'],
  ]);
  return graph;
}

const FEEDS = new Map<string, Tensor>([
  ['x', float32([2, 3], [1, 2, 3, -1, 0.5, 0])],
  ['w', float32([2, 3], [0.1, -0.2, 0.3, 0.4, 0.5, 0.6])],
]);

describe('buildBackward', () => {
  it('adds up what reaches a value on several paths', async () => {
    const graph = branching();
    const gradients = differentiate(graph, ['w']);
    const results = await runGraph(graph, FEEDS);
    const actual = results.get(gradients.get('w') ?? '')?.data as Float32Array;
    const w = FEEDS.get('w')?.data as Float32Array;
    const x = FEEDS.get('x')?.data as Float32Array;
    for (const [index, value] of actual.entries()) {
      const bent = Math.tanh((w[index] ?? 0) * (x[index] ?? 0));
      expect(value).toBeCloseTo((1 - bent * bent) * (x[index] ?? 0) + 1, 5);
    }
  });

  it('differentiates with respect to inner values and does not go past them', async () => {
    const graph = branching();
    const gradients = differentiate(graph, ['bent']);
    const results = await runGraph(graph, FEEDS);
    expect(Array.from(results.get(gradients.get('bent') ?? '')?.data as Float32Array)).toEqual([1, 1, 1, 1, 1, 1]);
    expect(graph.nodes.filter((made) => made.name.includes('grad/product'))).toEqual([]);
  });

  it('writes nothing for inputs that were not asked for', () => {
    const graph = branching();
    differentiate(graph, ['w']);
    const names = graph.nodes.map((made) => made.name);
    expect(new Set(names).size).toBe(names.length);
    const products = graph.nodes.filter((made) => made.name.startsWith('grad') && made.opType === 'Mul');
    // 1 − tanh² and its two products with g and x: the product with w, for x, is not there.
    expect(products.filter((made) => made.inputs.includes('w'))).toEqual([]);
  });

  it('names gradients after their values and is the same every time', () => {
    const [first, second] = [branching(), branching()];
    expect([...differentiate(first, ['w', 'x'])]).toEqual([
      ['w', 'grad.w'],
      ['x', 'grad.x'],
    ]);
    differentiate(second, ['w', 'x']);
    expect(first.nodes).toEqual(second.nodes);
    expect([...first.initializers.keys()]).toEqual([...second.initializers.keys()]);
  });

  it('differentiates a weighted sum of losses without expanding any mean', async () => {
    const graph = graphOf({ a: [2, 2] });
    addConstant(graph, 'two', float32([], [2]));
    chain(graph, [
      ['Mul', ['a', 'a'], 'square'],
      ['ReduceMean', ['square'], 'mean'],
      ['ReduceSum', ['a'], 'sum'],
      ['Mul', ['mean', 'two'], 'double'],
      ['Add', ['double', 'sum'], 'both'],
      ['Squeeze', ['both'], 'loss'],
    ]);
    const gradients = differentiate(graph, ['a']);
    const results = await runGraph(graph, new Map([['a', float32([2, 2], [1, 2, 3, 4])]]));
    expect(Array.from(results.get(gradients.get('a') ?? '')?.data as Float32Array)).toEqual([2, 3, 4, 5]);
    expect(graph.nodes.filter((made) => made.opType === 'Expand')).toEqual([]);
  });

  it('gives a constant gradient its dims and tells equal gradients apart', async () => {
    const graph = graphOf({ a: [2, 3], b: [2, 3] });
    chain(graph, [
      ['Add', ['a', 'b'], 'sum'],
      ['ReduceSum', ['sum'], 'total'],
      ['Squeeze', ['total'], 'loss'],
    ]);
    const gradients = differentiate(graph, ['a', 'b']);
    const feeds = new Map<string, Tensor>(['a', 'b'].map((name) => [name, float32([2, 3], new Float32Array(6))]));
    const results = await runGraph(graph, feeds);
    for (const name of ['a', 'b']) {
      expect(results.get(gradients.get(name) ?? '')).toEqual(float32([2, 3], [1, 1, 1, 1, 1, 1]));
    }
  });

  it('sends gradients into a table of scales by the row each sample picked', async () => {
    const graph = graphOf({ table: [4], x: [3, 2] });
    graph.inputs.push({ name: 'row', type: 'int64', shape: [3] });
    addConstant(graph, 'shape', int64([2], [3, 1]));
    chain(graph, [
      ['Gather', ['table', 'row'], 'picked'],
      ['Reshape', ['picked', 'shape'], 'scale'],
      ['Mul', ['x', 'scale'], 'y'],
      ['ReduceSum', ['y'], 'total'],
      ['Squeeze', ['total'], 'loss'],
    ]);
    const gradients = differentiate(graph, ['table']);
    const session = await openGraph(graph);
    const x = float32([3, 2], [1, 2, 10, 20, 100, 200]);
    const table = float32([4], [1, 1, 1, 1]);
    for (const [rows, expected] of [
      [
        [2, 0, 2],
        [30, 0, 303, 0],
      ],
      [
        [3, 3, 3],
        [0, 0, 0, 333],
      ],
    ] as const) {
      const results = await session.run(
        new Map<string, Tensor>([
          ['x', x],
          ['table', table],
          ['row', int64([3], rows)],
        ]),
      );
      expect(Array.from(results.get(gradients.get('table') ?? '')?.data as Float32Array)).toEqual(expected);
    }
    await session.release();
  });

  it('names everything without a rule at once, with its nodes, and leaves the graph alone', () => {
    const graph = graphOf({ x: [2, 3], free: [1] });
    const names = ['a', 'b', 'c', 'd'];
    graph.insertNodes([
      ...names.map((name, index) => node('Det', [names[index - 1] ?? 'x'], [name], { name: `det.${name}` })),
      node('FusedMatMul', ['d', 'd'], ['e'], { name: 'fused', domain: 'com.microsoft' }),
      node('ScatterND', ['e', 'i', 'e'], ['f'], { name: 'kept', attributes: { reduction: attribute.string('max') } }),
      node('ReduceSum', ['f'], ['loss'], { name: 'loss', attributes: { keepdims: attribute.int(0) } }),
      node('Det', ['free'], ['aside'], { name: 'aside' }),
    ]);
    const expected = [
      'Det (4 nodes: det.a, det.b, det.c, …)',
      'com.microsoft.FusedMatMul (1 node: fused)',
      'ScatterND with reduction max (1 node: kept)',
    ];
    expect(unsupportedOperators(graph, 'loss', ['x'])).toEqual(expected);
    const shapes = { ...inferShapes(graphOf({ x: [2, 3], free: [1], loss: [] })), constantOf: () => undefined };
    const before = graph.clone();
    const build = () => buildBackward(graph, shapes, { loss: 'loss', wrt: ['x', 'free'] });
    expect(build).toThrow(`no gradient rule for ${expected.join(', ')}; loss does not depend on free`);
    expect(graph.nodes).toEqual(before.nodes);
    expect([...graph.initializers]).toEqual([...before.initializers]);
  });

  it('refuses a gradient that would have to flow into the bounds of a clip', () => {
    const graph = graphOf({ x: [2], low: [] });
    chain(graph, [
      ['Clip', ['x', 'low'], 'y'],
      ['ReduceSum', ['y'], 'loss'],
    ]);
    expect(unsupportedOperators(graph, 'loss', ['x'])).toEqual([]);
    expect(unsupportedOperators(graph, 'loss', ['low'])).toEqual(['Clip by its input 1 (1 node: y)']);
  });

  it('refuses a gradient through an output that the rule does not know', () => {
    const graph = graphOf({ x: [2, 3], w: [3] });
    graph.insertNodes([
      node('LayerNormalization', ['x', 'w'], ['y', 'mean'], { name: 'norm' }),
      node('ReduceSum', ['mean'], ['loss'], { name: 'loss' }),
    ]);
    expect(unsupportedOperators(graph, 'loss', ['x'])).toEqual([
      'LayerNormalization through its output 1 (1 node: norm)',
    ]);
  });

  it('takes indices and counts for constants, wherever they come from', async () => {
    const graph = graphOf({ x: [2, 4] });
    addConstant(graph, 'k', int64([1], [2]));
    graph.insertNodes([
      node('TopK', ['x', 'k'], ['largest', 'at'], { name: 'topk' }),
      node('GatherElements', ['x', 'at'], ['picked'], { name: 'pick', attributes: { axis: attribute.int(1) } }),
      node('Cast', ['at'], ['weight'], { name: 'cast', attributes: { to: attribute.int(1) } }),
      node('Mul', ['picked', 'weight'], ['y'], { name: 'y' }),
      node('ReduceSum', ['y'], ['loss'], { name: 'loss', attributes: { keepdims: attribute.int(0) } }),
    ]);
    expect(unsupportedOperators(graph, 'loss', ['x'])).toEqual([]);
    const gradients = differentiate(graph, ['x']);
    const results = await runGraph(graph, new Map([['x', float32([2, 4], [1, 4, 2, 3, 8, 5, 6, 7])]]));
    expect(Array.from(results.get(gradients.get('x') ?? '')?.data as Float32Array)).toEqual([0, 1, 0, 3, 0, 0, 0, 3]);
    expect(graph.nodes.filter((made) => made.name.startsWith('grad/topk'))).toEqual([]);
  });

  it('refuses control flow whose bodies read a value on the path', () => {
    const body = { node: [{ input: ['product'], attribute: [] }], output: [{ name: 'inner' }] };
    const graph = graphOf({ x: [2] });
    graph.insertNodes([
      node('Mul', ['x', 'x'], ['product'], { name: 'product' }),
      node('If', ['flag'], ['loss'], {
        name: 'if',
        attributes: { then_branch: { kind: 'opaque', value: { g: body } } },
      }),
    ]);
    expect(unsupportedOperators(graph, 'loss', ['x'])).toEqual(['If (1 node: if)']);
  });

  it('refuses a loss with more than one element and an old opset', () => {
    const graph = graphOf({ x: [2] }, 10);
    chain(graph, [['Exp', ['x'], 'loss']]);
    expect(() => buildBackward(graph, inferShapes(graph), { loss: 'loss', wrt: ['x'] })).toThrow(
      /opset 10 is not in 11…24; the loss loss is not a single number/,
    );
  });

  it('goes through half precision and back', async () => {
    const graph = graphOf({ x: [3] });
    graph.insertNodes([
      node('Cast', ['x'], ['half'], { name: 'half', attributes: { to: attribute.int(10) } }),
      node('Softmax', ['half'], ['soft'], { name: 'soft' }),
      node('Tanh', ['soft'], ['bent'], { name: 'bent' }),
      node('Cast', ['bent'], ['y'], { name: 'back', attributes: { to: attribute.int(1) } }),
      node('ReduceSum', ['y'], ['loss'], { name: 'loss', attributes: { keepdims: attribute.int(0) } }),
    ]);
    const x = [0.5, -1, 0.25];
    const gradients = differentiate(graph, ['x']);
    const results = await runGraph(graph, new Map([['x', float32([3], x)]]));
    const actual = results.get(gradients.get('x') ?? '')?.data as Float32Array;
    const total = x.reduce((sum, value) => sum + Math.exp(value), 0);
    const soft = x.map((value) => Math.exp(value) / total);
    const slopes = soft.map((value) => 1 - Math.tanh(value) ** 2);
    const mean = soft.reduce((sum, value, at) => sum + value * (slopes[at] ?? 0), 0);
    const expected = soft.map((value, at) => value * ((slopes[at] ?? 0) - mean));
    expect(maxAbsDifference(actual, expected)).toBeLessThan(HALF_TOLERANCE);
  });
});

describe('makeTrainable', () => {
  it('turns initializers into inputs and returns their values', () => {
    const graph = graphOf({ x: [2] });
    addConstant(graph, 'w', float32([2], [3, 4]));
    expect(makeTrainable(graph, ['w']).get('w')).toEqual(float32([2], [3, 4]));
    expect(graph.initializers.has('w')).toBe(false);
    expect(graph.inputs.at(-1)).toEqual({ name: 'w', type: 'float32', shape: [2] });
  });

  it('names what is no initializer', () => {
    expect(() => makeTrainable(graphOf({ x: [2] }), ['x', 'nothing'])).toThrow('No initializer is named x, nothing');
  });
});
