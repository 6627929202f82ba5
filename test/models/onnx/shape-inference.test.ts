import { describe, expect, it } from 'vitest';
import type { Graph } from '../../../models/onnx/graph.js';
import { writeModel } from '../../../models/onnx/model-proto.js';
import { inferShapes, type Shapes } from '../../../models/onnx/shape-inference.js';
import { isElementType } from '../../../models/onnx/tensor-from-initializer.js';
import { bytesFromTensor, type Tensor } from '../../../models/tensors/tensor.js';
import { GOLDEN_MODELS, openModel, smallDims, ZOO_MODELS } from './onnx-models.js';
import { inputOf, runOnnx } from './run-onnx.js';

/** The model with every inner value as an output. */
function withInnerOutputs(graph: Graph, shapes: Shapes): Graph {
  const copy = graph.clone();
  const values = graph.nodes.flatMap((node) => node.outputs).filter((value) => value !== '');
  copy.outputs = values.map((name) => ({ name, type: shapes.typeOf(name), shape: null }));
  copy.valueInfos.clear();
  return copy;
}

async function runInnerValues(graph: Graph, shapes: Shapes): Promise<Record<string, Tensor>> {
  const feeds = Object.fromEntries(
    graph.inputs.map(({ name, type }) => {
      if (!isElementType(type)) throw new Error(`input ${name} is ${type}`);
      return [name, inputOf(type, shapes.dimsOf(name))];
    }),
  );
  return runOnnx(writeModel(withInnerOutputs(graph, shapes)), feeds);
}

describe('shape inference against onnxruntime', () => {
  it.each([...ZOO_MODELS, ...GOLDEN_MODELS])('finds type, dims and constants of every value in %s', async (path) => {
    const graph = openModel(path);
    const shapes = inferShapes(graph, smallDims(graph));
    const results = await runInnerValues(graph, shapes);
    expect(Object.keys(results).length).toBeGreaterThan(0);
    for (const [name, result] of Object.entries(results)) {
      expect([name, shapes.typeOf(name), shapes.dimsOf(name)]).toEqual([name, result.type, result.dims]);
      const constant = shapes.constantOf(name);
      if (constant !== undefined) {
        const equal = Buffer.compare(bytesFromTensor(constant), bytesFromTensor(result)) === 0;
        expect(equal, `constant ${name}: ${constant.data.slice(0, 8)} is ${result.data.slice(0, 8)}`).toBe(true);
      }
    }
  });
});
