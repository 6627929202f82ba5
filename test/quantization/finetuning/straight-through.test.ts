import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EngineExecutor } from '../../../activities/engine/engine-executor.js';
import { gaussianTensor } from '../../../models/tensors/random.js';
import { float32 } from '../../../models/tensors/tensor.js';
import { trainableName } from '../../../quantization/conversion/lower-to-float.js';
import type { WeightScheme } from '../../../quantization/layer-plan.js';
import { maxAbs, maxAbsDifference } from '../../models/autodiff/train-graph.js';
import { referenceQuantized, SCHEME } from '../conversion/lowered-quantizer.js';
import {
  HIDDEN,
  heldWeight,
  IN,
  product,
  ROWS,
  slopeOf,
  trainingGradients,
  transposed,
  twoLayerPlan,
  twoLayers,
} from './two-layers.js';

/**
 * ŷ = q(x·Ŵ₁)·Ŵ₂ with a dynamic quantizer q, loss = mean((ŷ − t)²). Straight-through, q is the identity for gradients, also
 * through its own range: ∂loss/∂Ŵ₁ = xᵀ·(2(ŷ − t)/n · Ŵ₂ᵀ), and by codes that times the scale.
 */

/** Float32 sums of some tens of products; the reference is in doubles. */
const TOLERANCE = 1e-5;

const WEIGHT_SCHEME: WeightScheme = { bits: 4, groupSize: null, range: 'absmax' };

let executor: EngineExecutor;
beforeAll(async () => {
  executor = await EngineExecutor.start({ device: 'cpu', threads: 1 });
});
afterAll(() => executor.close());

for (const symmetric of [false, true]) {
  for (const groupSize of [null, 8]) {
    describe(`gradients past a ${symmetric ? 'signed' : 'unsigned'} dynamic range, groups of ${groupSize ?? 'all'}`, () => {
      it('are those of the identity', async () => {
        const weights = [gaussianTensor(1, 0, [IN, HIDDEN]), gaussianTensor(1, 1, [HIDDEN, IN])] as const;
        const x = gaussianTensor(2, 0, [ROWS, IN]);
        const target = gaussianTensor(3, 0, [ROWS, IN]);
        const scheme = { ...SCHEME, symmetric, groupSize };
        const [first, second] = [heldWeight(weights[0], WEIGHT_SCHEME), heldWeight(weights[1], WEIGHT_SCHEME)];
        const parameters = {
          timesteps: [],
          branches: new Map(),
          weights: new Map([
            ['first', { ...first, bias: null }],
            ['second', { ...second, bias: null }],
          ]),
          activations: new Map(),
        };
        const plan = twoLayerPlan(scheme, WEIGHT_SCHEME);
        const gradients = await trainingGradients(
          executor,
          { graph: twoLayers(weights), plan, parameters },
          { x, target },
        );

        const hidden = product(x, first.value);
        const quantized = float32(
          hidden.dims,
          referenceQuantized({ dims: hidden.dims, channelAxis: 1, scheme }, hidden).values,
        );
        expect(maxAbsDifference(quantized.data, hidden.data)).toBeGreaterThan(0);
        const slope = slopeOf(product(quantized, second.value), target);
        const byWeight = product(transposed(x), product(slope, transposed(second.value)));
        // A code that is clamped, as the largest positive weight of a channel is, has no gradient.
        const last = 2 ** (WEIGHT_SCHEME.bits - 1) - 1;
        const expected = byWeight.data.map((value, at) => {
          const scale = first.scales.data[at % HIDDEN] ?? 0;
          return (first.weight.data[at] ?? 0) / scale > last ? 0 : value * scale;
        });
        expect(expected.filter((value) => value === 0).length).toBeLessThanOrEqual(HIDDEN);
        const gradient = gradients.get(trainableName.weight('first')) ?? [];
        expect(maxAbsDifference(gradient, expected)).toBeLessThanOrEqual(TOLERANCE * maxAbs(expected));
      });
    });
  }
}
