import { describe, expect, it } from 'vitest';
import { recipeSchema } from '../../../contracts/recipe.js';
import { Graph, initializerFromTensor, node } from '../../../models/onnx/graph.js';
import { inferShapes } from '../../../models/onnx/shape-inference.js';
import { float32 } from '../../../models/tensors/tensor.js';
import { refuseUntrainable } from '../../../quantization/finetuning/refuse-untrainable.js';
import type { PlannedLayer, QuantizationPlan } from '../../../quantization/layer-plan.js';

const denoiser = { output: 'y', modelPath: 'unet/model.onnx' };

/** x → first → LpPool → Abs → second → y. */
function pooledGraph(): Graph {
  const graph = new Graph();
  graph.inputs = [{ name: 'x', type: 'float32', shape: [1, 1, 4] }];
  graph.outputs = [{ name: 'y', type: 'float32', shape: null }];
  graph.addInitializer(initializerFromTensor('w', float32([1, 1, 1], [2])));
  graph.insertNodes([
    node('Conv', ['x', 'w'], ['a'], { name: 'first' }),
    node('LpPool', ['a'], ['b'], { name: 'pool', attributes: { kernel_shape: { kind: 'ints', value: [2] } } }),
    node('Abs', ['b'], ['c'], { name: 'abs' }),
    node('Conv', ['c', 'w'], ['y'], { name: 'second' }),
  ]);
  return graph;
}

function layer(name: string, output: string, role: PlannedLayer['role']): PlannedLayer {
  const scheme = { bits: 4, groupSize: null, range: 'absmax' } as const;
  const weight = { initializer: 'w', dims: [1, 1, 1], outputAxis: 0, inputAxis: 1, bias: null, scheme } as const;
  const counts = { parameters: 1, macs: 4 };
  return { name, node: name, opType: 'Conv', role, output, weight, inputs: [], skipped: null, ...counts };
}

const coverage = { layers: 1, parameters: 1, macs: 1, macsByBits: { w4a4: 1 } };
const layers = [layer('first', 'a', 'convolution'), layer('second', 'y', 'feed-forward')];
const plan: QuantizationPlan = { schemaVersion: 1, layers, coverage, floatBytes: 8, estimatedBytes: 1 };

function refuse(role: 'convolution' | 'feed-forward', enabled = true): () => void {
  const graph = pooledGraph();
  const recipe = recipeSchema.parse({ finetuning: { enabled, phases: [{ name: 'one', layers: [role], steps: 1 }] } });
  return () => refuseUntrainable(denoiser, { graph, shapes: inferShapes(graph), plan }, recipe);
}

describe('operators that finetuning would have to differentiate', () => {
  it('are named with their nodes when they lie between a trained layer and the output', () => {
    expect(refuse('convolution')).toThrow(/LpPool \(1 node: pool\)/);
  });

  it('do not matter before the trained layers, or when nothing is trained', () => {
    expect(refuse('feed-forward')).not.toThrow();
    expect(refuse('convolution', false)).not.toThrow();
  });
});
