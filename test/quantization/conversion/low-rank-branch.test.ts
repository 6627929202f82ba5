import { describe, expect, test } from 'vitest';
import { type Attribute, attribute, Graph, initializerFromTensor, node } from '../../../models/onnx/graph.js';
import { writeModel } from '../../../models/onnx/model-proto.js';
import { NodeEmitter } from '../../../models/onnx/node-emitter.js';
import { sortTopologically } from '../../../models/onnx/sort-topologically.js';
import { gaussianTensor } from '../../../models/tensors/random.js';
import type { Float32Tensor } from '../../../models/tensors/tensor.js';
import { halfConstant, insertLowRankBranch, wholeConstant } from '../../../quantization/conversion/low-rank-branch.js';
import type { PlannedLayer } from '../../../quantization/layer-plan.js';
import { branchSpectrum, cutBranch } from '../../../quantization/rounding/low-rank-branches.js';
import { runOnnx } from '../../models/onnx/run-onnx.js';

/** Sums of at most 60 products of values below 5, in float32 and in another order: 60 · 25 · 2⁻²⁴, with room. */
const TOLERANCE = 2e-4;

interface Case {
  readonly opType: PlannedLayer['opType'];
  readonly x: readonly number[];
  readonly w: readonly number[];
  readonly outputAxis: number;
  readonly inputAxis: number;
  readonly attributes?: Record<string, Attribute>;
}

const CASES: Record<string, Case> = {
  'a convolution with stride, uneven pads and dilation': {
    opType: 'Conv',
    x: [2, 5, 9, 8],
    w: [7, 5, 3, 2],
    outputAxis: 0,
    inputAxis: 1,
    attributes: {
      strides: attribute.ints([2, 1]),
      pads: attribute.ints([1, 0, 2, 1]),
      dilations: attribute.ints([1, 2]),
      group: attribute.int(1),
    },
  },
  'a MatMul of tokens': { opType: 'MatMul', x: [2, 3, 6], w: [6, 8], outputAxis: 1, inputAxis: 0 },
  'a Gemm with a transposed weight': {
    opType: 'Gemm',
    x: [3, 6],
    w: [8, 6],
    outputAxis: 0,
    inputAxis: 1,
    attributes: { transB: attribute.int(1) },
  },
};

function graphOf({ opType, x, attributes = {} }: Case, weight: Float32Tensor): Graph {
  const graph = new Graph();
  graph.inputs = [{ name: 'x', type: 'float32', shape: x }];
  graph.outputs = [{ name: 'y', type: 'float32', shape: null }];
  graph.addInitializer(initializerFromTensor('w', weight));
  graph.nodes = [node(opType, ['x', 'w'], ['y'], { name: 'layer', attributes })];
  return graph;
}

async function outputOf(graph: Graph, x: Float32Tensor): Promise<Float32Array> {
  const { y } = await runOnnx(writeModel(graph), { x });
  return y?.data as Float32Array;
}

describe('what is left of a weight and its branch together are the float layer', () => {
  for (const [title, one] of Object.entries(CASES)) {
    for (const constant of [halfConstant, wholeConstant]) {
      test(`${title}, factors by ${constant.name}`, async () => {
        const weight = gaussianTensor(3, 1, one.w);
        const x = gaussianTensor(3, 2, one.x);
        const scheme = { bits: 4, groupSize: null, range: 'absmax' } as const;
        const { outputAxis, inputAxis } = one;
        const planned = { initializer: 'w', dims: one.w, outputAxis, inputAxis, bias: null, scheme };
        const channels = one.w[inputAxis] ?? 0;
        const data = Float64Array.from({ length: channels ** 2 }, (_, at) => (at % (channels + 1) === 0 ? 1 : 0));
        const errors = { rows: channels, cols: channels, data };
        const spectrum = await branchSpectrum({ weight, layout: planned, errors, sensitivity: null });
        const { branch, rest } = await cutBranch(spectrum, 2, { opType: one.opType }, planned);
        const graph = graphOf(one, rest);
        const emitter = new NodeEmitter(graph, 'q');
        const layer = {
          ...{ name: 'l', node: 'layer', opType: one.opType, role: 'linear', output: 'y', weight: planned },
          inputs: [{ value: 'x', index: 0 }],
        } as unknown as PlannedLayer;
        insertLowRankBranch(graph, layer, branch, emitter, constant(emitter));
        sortTopologically(graph);
        expect(graph.nodeByName('layer')?.outputs).toEqual(['y']);
        const expected = await outputOf(graphOf(one, weight), x);
        const alone = await outputOf(graphOf(one, rest), x);
        const found = await outputOf(graph, x);
        const distance = (to: Float32Array): number =>
          expected.reduce((largest, value, at) => Math.max(largest, Math.abs(value - (to[at] as number))), 0);
        expect(distance(found)).toBeLessThan(TOLERANCE);
        expect(distance(alone)).toBeGreaterThan(100 * TOLERANCE);
      });
    }
  }
});
