import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { NibbleflowError } from '../../../contracts/errors.js';
import { Graph, type Node, node } from '../../../models/onnx/graph.js';
import { sortTopologically } from '../../../models/onnx/sort-topologically.js';

/** Node i of a random acyclic graph reads `x` and some of the nodes before it. */
const acyclic = fc.array(fc.array(fc.nat(), { maxLength: 4 }), { minLength: 1, maxLength: 40 }).map((reads) =>
  reads.map((choices, index) => {
    const inputs = index === 0 ? ['x'] : ['x', ...choices.map((choice) => `v${choice % index}`)];
    return node('Sum', inputs, [`v${index}`], { name: `n${index}` });
  }),
);

const shuffled = acyclic.chain((nodes) => fc.shuffledSubarray(nodes, { minLength: nodes.length }));

function graphOf(nodes: readonly Node[]): Graph {
  const graph = new Graph();
  graph.inputs = [{ name: 'x', type: 'float32', shape: [1] }];
  graph.nodes = [...nodes];
  return graph;
}

describe('sortTopologically', () => {
  it('puts every node of a shuffled acyclic graph behind what it reads, and loses none', () => {
    fc.assert(
      fc.property(shuffled, (nodes) => {
        const graph = graphOf(nodes);
        sortTopologically(graph);
        const seen = new Set(['x']);
        for (const each of graph.nodes) {
          expect(each.inputs.filter((input) => !seen.has(input))).toEqual([]);
          for (const output of each.outputs) seen.add(output);
        }
        expect(new Set(graph.nodes)).toEqual(new Set(nodes));
        expect(graph.nodes.length).toBe(nodes.length);
      }),
    );
  });

  it('leaves a graph that is in order as it is', () => {
    fc.assert(
      fc.property(acyclic, (nodes) => {
        const graph = graphOf(nodes);
        sortTopologically(graph);
        expect(graph.nodes).toEqual(nodes);
      }),
    );
  });

  it('names the nodes of a cycle and of nothing else', () => {
    fc.assert(
      fc.property(shuffled, fc.nat(), (nodes, pick) => {
        const at = nodes[pick % nodes.length] as Node;
        const first = node('Add', ['x', 'loop.b'], ['loop.a'], { name: 'first' });
        const second = node('Add', ['loop.a', at.outputs[0] ?? ''], ['loop.b'], { name: 'second' });
        const error = errorOf(() => sortTopologically(graphOf([first, ...nodes, second])));
        expect(error.kind).toBe('InvalidModel');
        expect(error.message).toContain('cycle: first, second');
      }),
    );
  });

  it('throws for a node that reads itself, and keeps the order that it found', () => {
    const graph = graphOf([node('Add', ['x', 'y'], ['y'], { name: 'self' })]);
    expect(errorOf(() => sortTopologically(graph)).message).toContain('self');
    expect(graph.nodes.map((each) => each.name)).toEqual(['self']);
  });
});

function errorOf(run: () => void): NibbleflowError {
  try {
    run();
  } catch (error) {
    if (error instanceof NibbleflowError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}
