import { describe, expect, it } from 'vitest';
import { checkModel } from '../../../models/onnx/check-model.js';
import { foldConstants } from '../../../models/onnx/fold-constants.js';
import { attribute, Graph, initializerFromTensor, node } from '../../../models/onnx/graph.js';
import { writeModel } from '../../../models/onnx/model-proto.js';
import { inferShapes } from '../../../models/onnx/shape-inference.js';
import { LARGEST_CONSTANT } from '../../../models/onnx/shapes/shape-rule.js';
import { isElementType } from '../../../models/onnx/tensor-from-initializer.js';
import { bytesFromTensor, elementCount, int64, type Tensor } from '../../../models/tensors/tensor.js';
import { GOLDEN_MODELS, openModel, smallDims, ZOO_MODELS } from './onnx-models.js';
import { inputOf, runOnnx } from './run-onnx.js';

describe('folding constants', () => {
  it.each([...ZOO_MODELS, ...GOLDEN_MODELS])(
    'leaves no small constant and no shape nodes in %s and changes no bit',
    async (path) => {
      const original = openModel(path);
      const folded = original.clone();
      const shapes = inferShapes(original, smallDims(original));
      foldConstants(folded, shapes);
      checkModel(folded);
      const isSmall = (value = '') => elementCount(shapes.dimsOf(value)) <= LARGEST_CONSTANT;
      const left = folded.nodes.filter(
        (one) => ['Constant', 'Shape', 'ConstantOfShape', 'Range'].includes(one.opType) && isSmall(one.outputs[0]),
      );
      expect(left.map((one) => one.name)).toEqual([]);
      const feeds = Object.fromEntries(
        original.inputs.map(({ name, type }) => {
          if (!isElementType(type)) throw new Error(`input ${name} is ${type}`);
          return [name, inputOf(type, shapes.dimsOf(name))];
        }),
      );
      const expected = await runOnnx(writeModel(original), feeds);
      const actual = await runOnnx(writeModel(folded), feeds);
      for (const [name, value] of Object.entries(expected)) {
        expect(Buffer.compare(bytesFromTensor(actual[name] as Tensor), bytesFromTensor(value)), name).toBe(0);
      }
    },
  );

  it('keeps graph outputs computed, and renames an output that is replaced beside one that is not', () => {
    const graph = new Graph();
    graph.inputs = [{ name: 'x', type: 'int64', shape: [2] }];
    graph.outputs = [
      { name: 'y', type: 'int64', shape: [2] },
      { name: 'rest', type: 'int64', shape: [1] },
    ];
    graph.addInitializer(initializerFromTensor('sizes', int64([2], [1, 1])));
    graph.insertNodes([
      node('Shape', ['x'], ['dims'], { name: 'shape' }),
      node('Concat', ['dims', 'dims'], ['pair'], { name: 'concat', attributes: { axis: attribute.int(0) } }),
      node('Split', ['pair', 'sizes'], ['first', 'rest'], { name: 'split' }),
      node('Add', ['x', 'first'], ['y'], { name: 'add' }),
    ]);
    foldConstants(graph, inferShapes(graph));
    checkModel(graph);
    expect(graph.nodes.map((one) => [one.opType, one.outputs])).toEqual([
      ['Split', ['first_unread', 'rest']],
      ['Add', ['y']],
    ]);
    expect(graph.initializers.has('first')).toBe(true);
  });
});
