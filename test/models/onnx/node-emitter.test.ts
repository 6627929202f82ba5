import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Graph, node } from '../../../models/onnx/graph.js';
import { writeModel } from '../../../models/onnx/model-proto.js';
import { NodeEmitter } from '../../../models/onnx/node-emitter.js';
import { tensorFromInitializer } from '../../../models/onnx/tensor-from-initializer.js';
import { float32, int64, type Tensor, tensor } from '../../../models/tensors/tensor.js';
import { runOnnx } from './run-onnx.js';

function graphWithInput(): Graph {
  const graph = new Graph();
  graph.inputs = [{ name: 'x', type: 'float32', shape: [3] }];
  return graph;
}

function heldBy(graph: Graph, name: string): Tensor {
  const found = graph.initializers.get(name);
  if (found === undefined) throw new Error(`no initializer ${name}`);
  return tensorFromInitializer(found);
}

describe('NodeEmitter', () => {
  it('never gives a name twice, whatever scopes and labels are asked for', () => {
    const name = fc.constantFrom('a', 'b', 'a.b', 'a_1', 'k', 'k.0', '0', '1');
    const wish = fc.tuple(name, name, fc.constantFrom('node', 'labelled', 'shared'), fc.nat(3));
    fc.assert(
      fc.property(fc.array(wish, { maxLength: 60 }), (wishes) => {
        const graph = graphWithInput();
        graph.nodes.push(node('Neg', ['x'], ['a.b'], { name: 'a.a' }));
        graph.addInitializer({ name: 'k.0', type: 'float32', dims: [], raw: new Uint8Array(4) });
        const emitter = new NodeEmitter(graph, 'a');
        for (const [scope, label, kind, value] of wishes) {
          emitter.at(scope);
          if (kind === 'node') emitter.emit('Neg', ['x'], {}, label);
          else emitter.constant(float32([], [value]), kind === 'labelled' ? label : undefined);
        }
        const outputs = graph.nodes.flatMap((each) => each.outputs);
        const values = [...outputs, ...graph.initializers.keys(), 'x'];
        expect(new Set(values).size).toBe(values.length);
        const names = graph.nodes.map((each) => each.name);
        expect(new Set(names).size).toBe(names.length);
      }),
    );
  });

  it('shares constants that are equal in type, dims and bits, and no others', () => {
    const graph = graphWithInput();
    const emitter = new NodeEmitter(graph, 'e');
    const distinct: Tensor[] = [
      float32([], [0]),
      float32([], [-0]),
      float32([1], [0]),
      int64([1], [0]),
      tensor('uint8', [1], Uint8Array.of(0)),
      float32([1, 2], [1, 2]),
      float32([2, 1], [1, 2]),
      float32([2], [1, 2]),
      float32([], [Number.POSITIVE_INFINITY]),
      float32([], [1 + 2 ** -23]),
      float32([], [1]),
    ];
    const names = distinct.map((one) => emitter.constant(one));
    expect(new Set(names).size).toBe(distinct.length);
    expect(distinct.map((one) => emitter.constant(one))).toEqual(names);
    for (const [index, name] of names.entries()) expect(heldBy(graph, name)).toEqual(distinct[index]);
    expect(emitter.scalar(1)).toBe(names.at(-1));
    expect(graph.initializers.size).toBe(distinct.length);
  });

  it('keeps labelled constants apart even when they are equal', () => {
    const graph = graphWithInput();
    const emitter = new NodeEmitter(graph, 'layer');
    const names = [1, 1].map((value) => emitter.constant(float32([1], [value]), 'scales'));
    expect(names).toEqual(['layer.scales', 'layer.scales_1']);
  });

  it('appends nodes that run, and goes on in the scope it was in before a shared constant', async () => {
    const graph = graphWithInput();
    const emitter = new NodeEmitter(graph, 'first');
    const doubled = emitter.emit('Mul', ['x', emitter.scalar(2)]);
    const shifted = emitter.at('second').emit('Add', [doubled, emitter.scalar(0.5)], {}, 'shifted');
    expect([doubled, shifted]).toEqual(['first.mul', 'second.shifted']);
    expect(graph.producerOf(shifted)?.name).toBe(shifted);
    graph.outputs = [{ name: shifted, type: 'float32', shape: [3] }];
    const { [shifted]: result } = await runOnnx(writeModel(graph), { x: float32([3], [1, -2, 3]) });
    expect([...(result?.data ?? [])]).toEqual([2.5, -3.5, 6.5]);
  });
});
