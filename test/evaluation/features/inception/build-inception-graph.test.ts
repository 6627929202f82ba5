import { beforeAll, describe, expect, it } from 'vitest';
import { NibbleflowError } from '../../../../contracts/errors.js';
import {
  buildInceptionGraph,
  INCEPTION_VALUES,
} from '../../../../evaluation/features/inception/build-inception-graph.js';
import { INCEPTION_SIZE } from '../../../../evaluation/features/inception/inception-layers.js';
import { checkModel } from '../../../../models/onnx/check-model.js';
import { attribute, type Graph } from '../../../../models/onnx/graph.js';
import { writeModel } from '../../../../models/onnx/model-proto.js';
import { type Float32Tensor, float32, int64, type Tensor, tensor } from '../../../../models/tensors/tensor.js';
import { runOnnx } from '../../../models/onnx/run-onnx.js';
import { formulaWeights, goldenArray, INCEPTION_CASE, preprocessed } from './formula-weights.js';

/** Of max|pool3|: float32 sums of up to 2048·9 products in another order. The golden allows 2e-4; measured 7e-6. */
const FEATURE_TOLERANCE = 3e-5;
/** Of a map's largest value: fewer layers lie before it. */
const MAP_TOLERANCE = 1e-4;
/** Of the largest logit: one more product, compared in double precision. */
const LOGIT_TOLERANCE = 1e-5;

const MAPS: Readonly<Record<string, string>> = {
  block0_maxpool1: 'maxpool1',
  block1_maxpool2: 'maxpool2',
  block2_mixed6e: 'Mixed_6e',
};

let weights: Map<string, Float32Tensor>;
let graph: Graph;

beforeAll(() => {
  weights = formulaWeights();
  graph = buildInceptionGraph(weights);
});

function largest(values: Iterable<number>): number {
  let result = 0;
  for (const value of values) result = Math.max(result, Math.abs(value));
  return result;
}

function largestDifference(a: Tensor, b: ArrayLike<number>): number {
  const data = a.data as Float32Array;
  expect(data.length).toBe(b.length);
  let result = 0;
  for (let index = 0; index < data.length; index += 1) {
    result = Math.max(result, Math.abs((data[index] as number) - (b[index] as number)));
  }
  return result;
}

describe('the Inception network of FID', () => {
  it('is a valid model', () => {
    expect(() => checkModel(graph)).not.toThrow();
  });

  it.each(Object.keys(INCEPTION_CASE.cases))(
    'computes what pytorch-fid computes with the same weights: %s',
    async (name) => {
      const images = preprocessed(goldenArray(`${name}.input_u8_nchw.npy`), INCEPTION_SIZE);
      const withLayer = graph.clone();
      withLayer.outputs = [...graph.outputs, { name: 'Mixed_6d.branch1x1', type: 'float32', shape: null }];
      const outputs = await runOnnx(writeModel(withLayer), { [INCEPTION_VALUES.input]: images });

      const pool3 = goldenArray(`${name}.pool3.npy`).data as Float32Array;
      const features = outputs[INCEPTION_VALUES.features] as Tensor;
      expect(features.dims).toEqual([images.dims[0], 2048]);
      expect(largestDifference(features, pool3)).toBeLessThan(FEATURE_TOLERANCE * largest(pool3));

      for (const [golden, value] of Object.entries(MAPS)) {
        const expected = INCEPTION_CASE.cases[name]?.[golden];
        const map = outputs[value] as Float32Tensor;
        const mean = map.data.reduce((sum, one) => sum + one, 0) / map.data.length;
        const tolerance = MAP_TOLERANCE * (expected?.absmax ?? 0);
        expect(map.dims).toEqual(expected?.shape);
        expect(Math.abs(mean - (expected?.mean ?? 0))).toBeLessThan(tolerance);
        expect(Math.abs(largest(map.data) - (expected?.absmax ?? 0))).toBeLessThan(tolerance);
        expect(largestDifference({ ...map, data: map.data.subarray(0, 8) }, expected?.head ?? [])).toBeLessThan(
          tolerance,
        );
      }
      expectLogits(outputs.logits as Float32Tensor, features as Float32Tensor);
      expectSpatial(outputs.spatial as Float32Tensor, outputs['Mixed_6d.branch1x1'] as Float32Tensor);
    },
  );

  it.each([
    ['averages that count the padding', (copy: Graph) => setPadding(copy)],
    ['an average in the last block', (copy: Graph) => averageLast(copy)],
  ])("is told from torchvision's by the golden: %s", async (_, change) => {
    const other = graph.clone();
    change(other);
    const images = preprocessed(goldenArray('wide.input_u8_nchw.npy'), INCEPTION_SIZE);
    const { features } = await runOnnx(writeModel(other), { [INCEPTION_VALUES.input]: images });
    const pool3 = goldenArray('wide.pool3.npy').data as Float32Array;
    expect(largestDifference(features as Tensor, pool3)).toBeGreaterThan(10 * FEATURE_TOLERANCE * largest(pool3));
  });

  function setPadding(copy: Graph): void {
    for (const node of copy.nodes) {
      if (node.opType === 'AveragePool') node.attributes.set('count_include_pad', attribute.int(1));
    }
  }

  function averageLast(copy: Graph): void {
    const pool = copy.nodeByName('Mixed_7c.pool');
    expect(pool?.opType).toBe('MaxPool');
    if (pool !== undefined) pool.opType = 'AveragePool';
  }

  /** Class scores are features · weightsᵀ without the bias. */
  function expectLogits(logits: Float32Tensor, features: Float32Tensor): void {
    const matrix = (weights.get('fc.weight') as Float32Tensor).data;
    const expected = Float64Array.from(logits.data, (_, index) => {
      const [row, column] = [Math.floor(index / 1008), index % 1008];
      let sum = 0;
      for (let k = 0; k < 2048; k += 1) {
        sum += (features.data[row * 2048 + k] as number) * (matrix[column * 2048 + k] as number);
      }
      return sum;
    });
    expect(logits.dims).toEqual([features.dims[0], 1008]);
    expect(largestDifference(logits, expected)).toBeLessThan(LOGIT_TOLERANCE * largest(expected));
  }

  /** Seven channels, height and width first, as the statistics files of guided-diffusion have them. */
  function expectSpatial(spatial: Float32Tensor, layer: Float32Tensor): void {
    const [n = 0] = layer.dims;
    expect(layer.dims).toEqual([n, 192, 17, 17]);
    expect(spatial.dims).toEqual([n, 17, 17, 7]);
    const expected = Float32Array.from(spatial.data, (_, index) => {
      const [channel, place, picture] = [index % 7, Math.floor(index / 7) % 289, Math.floor(index / 2023)];
      return layer.data[(picture * 192 + channel) * 289 + place] as number;
    });
    expect(largestDifference(spatial, expected)).toBe(0);
    expect(largest(expected)).toBeGreaterThan(0);
  }

  it('holds the weights as they were, and nothing of the counters that training left', () => {
    const counted = new Map<string, Tensor>([...weights, ['Conv2d_1a_3x3.bn.num_batches_tracked', int64([], [1])]]);
    const built = buildInceptionGraph(counted);
    expect(Buffer.compare(writeModel(built), writeModel(graph))).toBe(0);
    for (const [name, { data }] of weights) {
      if (name !== 'fc.bias') expect(graph.initializers.get(name)?.raw.buffer).toBe(data.buffer);
    }
  });
});

describe('other weights are refused with what is wrong', () => {
  const changed = (change: (tensors: Map<string, Tensor>) => void): string => {
    const tensors = new Map<string, Tensor>(weights);
    change(tensors);
    try {
      buildInceptionGraph(tensors, 'mine.pth');
    } catch (error) {
      expect(error).toBeInstanceOf(NibbleflowError);
      return String(error);
    }
    return 'accepted';
  };

  it('those of no network at all', () => {
    expect(changed((tensors) => tensors.clear())).toMatch(
      /misses Conv2d_1a_3x3\.conv\.weight, .* and 467 more \(mine\.pth\)/,
    );
  });

  it("torchvision's, with 1000 classes and another head", () => {
    const message = changed((tensors) => {
      tensors.set('fc.weight', float32([1000, 2048], new Float32Array(2_048_000)));
      tensors.set('AuxLogits.fc.bias', float32([1], [0]));
    });
    expect(message).toMatch(
      /fc\.weight is \[1000, 2048\], not \[1008, 2048\]; has what belongs to no layer: AuxLogits/,
    );
  });

  it('those of another type', () => {
    const half = tensor('float16', [1008], new Uint16Array(1008));
    expect(changed((tensors) => tensors.set('fc.bias', half))).toMatch(/fc\.bias is float16, not float32/);
  });

  it('those that are not finite', () => {
    const broken = float32([32], new Float32Array(32).fill(Number.NaN));
    expect(changed((tensors) => tensors.set('Conv2d_1a_3x3.bn.bias', broken))).toMatch(/bn\.bias is not finite/);
  });
});
