import { describe, expect, it } from 'vitest';
import { attribute, Graph, node } from '../../../models/onnx/graph.js';
import { multiplyAdds } from '../../../models/onnx/macs.js';
import { inferShapes } from '../../../models/onnx/shape-inference.js';
import { openModel } from './onnx-models.js';

/** Multiply-adds of one node whose inputs have these dims. */
function count(opType: string, dims: readonly number[][], attributes = {}): number {
  const graph = new Graph();
  graph.inputs = dims.map((shape, index) => ({ name: `in${index}`, type: 'float32', shape }));
  const only = node(
    opType,
    graph.inputs.map((input) => input.name),
    ['out'],
    { name: 'n', attributes },
  );
  graph.insertNodes([only]);
  return multiplyAdds(only, inferShapes(graph));
}

describe('multiply-adds', () => {
  it('counts every product of the definition', () => {
    expect(
      count('MatMul', [
        [5, 2, 3],
        [3, 4],
      ]),
    ).toBe(5 * 2 * 3 * 4);
    expect(
      count(
        'Gemm',
        [
          [3, 2],
          [4, 3],
        ],
        { transA: attribute.int(1), transB: attribute.int(1) },
      ),
    ).toBe(2 * 3 * 4);
    expect(
      count('Conv', [
        [2, 4, 5, 5],
        [6, 4, 3, 3],
      ]),
    ).toBe(2 * 6 * 9 * 4 * 9);
    expect(
      count(
        'Conv',
        [
          [2, 4, 5, 5],
          [6, 2, 3, 3],
        ],
        { group: attribute.int(2) },
      ),
    ).toBe(2 * 6 * 9 * 2 * 9);
    expect(
      count('ConvTranspose', [
        [2, 4, 5],
        [4, 3, 2],
      ]),
    ).toBe(2 * 4 * 5 * 3 * 2);
    expect(count('Add', [[2, 3], [3]])).toBe(0);
  });

  it('grows in the zoo denoiser by the same factor as the batch', () => {
    const graph = openModel('models/zoo/emoji-t2i/unet/model.onnx');
    const total = (batch: number) => {
      const dims = { sample: [batch, 12, 16, 16], timestep: [batch], encoder_hidden_states: [batch, 16, 64] };
      const shapes = inferShapes(graph, dims);
      return graph.nodes.reduce((sum, one) => sum + multiplyAdds(one, shapes), 0);
    };
    expect(total(4)).toBe(4 * total(1));
    expect(total(1)).toBeGreaterThan(100e6);
  });
});
