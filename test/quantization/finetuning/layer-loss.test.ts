import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EngineExecutor } from '../../../activities/engine/engine-executor.js';
import { gaussianTensor } from '../../../models/tensors/random.js';
import { type Float32Tensor, float32, zeros } from '../../../models/tensors/tensor.js';
import { trainableName } from '../../../quantization/conversion/lower-to-float.js';
import type { WeightScheme } from '../../../quantization/layer-plan.js';
import { maxAbs, maxAbsDifference } from '../../models/autodiff/train-graph.js';
import { SCHEME } from '../conversion/lowered-quantizer.js';
import {
  HIDDEN,
  heldWeight,
  IN,
  product,
  ROWS,
  trainingGradients,
  transposed,
  twoLayerPlan,
  twoLayers,
} from './two-layers.js';

/** The layer loss mean((O − Õ)²) / mean(O²) of the first of two layers. */

/** Float32 sums of some tens of products; the reference is in doubles. */
const TOLERANCE = 1e-5;

const X = gaussianTensor(2, 0, [ROWS, IN]);
const WEIGHT_SCHEME: WeightScheme = { bits: 4, groupSize: null, range: 'absmax' };

let executor: EngineExecutor;
beforeAll(async () => {
  executor = await EngineExecutor.start({ device: 'cpu', threads: 1 });
});
afterAll(() => executor.close());

/** ∂loss/∂codes of the first layer whose float weight is `first`; what is trained starts at `held`. */
async function gradient(first: Float32Tensor, held: Float32Tensor, layerLossWeight: number): Promise<Float32Array> {
  const second = gaussianTensor(1, 1, [HIDDEN, IN]);
  const parameters = {
    timesteps: [],
    weights: new Map([
      ['first', { ...heldWeight(held, WEIGHT_SCHEME), bias: null }],
      ['second', { ...heldWeight(second, WEIGHT_SCHEME), bias: null }],
    ]),
    branches: new Map(),
    activations: new Map(),
  };
  const plan = twoLayerPlan(SCHEME, WEIGHT_SCHEME);
  const layers = { graph: twoLayers([first, second]), plan, parameters, layerLossWeight };
  const batch = { x: X, target: gaussianTensor(3, 0, [ROWS, IN]) };
  const found = (await trainingGradients(executor, layers, batch)).get(trainableName.weight('first'));
  return found ?? new Float32Array();
}

describe('the layer loss', () => {
  it("adds the gradient of the layer's relative error", async () => {
    const weight = gaussianTensor(1, 0, [IN, HIDDEN]);
    const [one, three] = [await gradient(weight, weight, 1), await gradient(weight, weight, 3)];
    const { value, scales } = heldWeight(weight, WEIGHT_SCHEME);
    const [float, rounded] = [product(X, weight), product(X, value)];
    const energy = float.data.reduce((sum, each) => sum + each * each, 0);
    const slope = float32(
      float.dims,
      float.data.map((each, at) => (2 * ((rounded.data[at] ?? 0) - each)) / energy),
    );
    const last = 2 ** (WEIGHT_SCHEME.bits - 1) - 1;
    const expected = product(transposed(X), slope).data.map((each, at) => {
      const scale = scales.data[at % HIDDEN] ?? 0;
      return (weight.data[at] ?? 0) / scale > last ? 0 : each * scale;
    });
    const found = three.map((each, at) => (each - (one[at] ?? 0)) / 2);
    expect(maxAbsDifference(found, expected)).toBeLessThanOrEqual(TOLERANCE * maxAbs(three));
  });

  it('leaves out a layer whose float output is all zero, instead of dividing by it', async () => {
    const nothing = zeros('float32', [IN, HIDDEN]);
    const weight = gaussianTensor(1, 0, [IN, HIDDEN]);
    const [one, three] = [await gradient(nothing, weight, 1), await gradient(nothing, weight, 3)];
    expect(maxAbs(one)).toBeGreaterThan(0);
    expect(maxAbsDifference(one, three)).toBe(0);
  });
});
