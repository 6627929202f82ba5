import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EngineExecutor } from '../../../activities/engine/engine-executor.js';
import { halfFromNumber, numberFromHalf } from '../../../models/tensors/float16.js';
import { gaussianTensor } from '../../../models/tensors/random.js';
import { type Float32Tensor, float32, zeros } from '../../../models/tensors/tensor.js';
import { trainableName } from '../../../quantization/conversion/lower-to-float.js';
import { mergeTrained } from '../../../quantization/finetuning/merge-trained.js';
import { branchFromShifts, branchUnit } from '../../../quantization/finetuning/weight-units.js';
import type { QuantizationPlan, WeightScheme } from '../../../quantization/layer-plan.js';
import type { QuantizedParameters } from '../../../quantization/quantized-parameters.js';
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
 * ŷ = q(q(x)·Ŵ₁ + x·D·U)·Ŵ₂, loss = mean((ŷ − t)²). With S = ∂loss/∂ŷ · Ŵ₂ᵀ the branch has ∂loss/∂U = (x·D)ᵀ·S and
 * ∂loss/∂D = xᵀ·(S·Uᵀ), and by the shifts those times the factors' units.
 */

/** Float32 sums of some tens of products; the reference is in doubles. */
const TOLERANCE = 1e-5;
const RANK = 2;
const WEIGHT_SCHEME: WeightScheme = { bits: 4, groupSize: null, range: 'absmax' };

function halves(value: Float32Tensor): Float32Tensor {
  return float32(
    value.dims,
    value.data.map((one) => numberFromHalf(halfFromNumber(one))),
  );
}

const weights = [gaussianTensor(1, 0, [IN, HIDDEN]), gaussianTensor(1, 1, [HIDDEN, IN])] as const;
const [first, second] = [heldWeight(weights[0], WEIGHT_SCHEME), heldWeight(weights[1], WEIGHT_SCHEME)];
const branch = { down: halves(gaussianTensor(4, 0, [IN, RANK])), up: halves(gaussianTensor(4, 1, [RANK, HIDDEN])) };
const parameters: QuantizedParameters = {
  timesteps: [],
  weights: new Map([
    ['first', { ...first, bias: null }],
    ['second', { ...second, bias: null }],
  ]),
  branches: new Map([['first', branch]]),
  activations: new Map(),
};
const base = twoLayerPlan(SCHEME, WEIGHT_SCHEME);
const plan: QuantizationPlan = {
  ...base,
  layers: base.layers.map((layer) =>
    layer.name === 'first'
      ? { ...layer, inputs: [{ value: 'x', index: 0, channelAxis: 1, rows: 'batch', scheme: SCHEME }] }
      : layer,
  ),
};

let executor: EngineExecutor;
beforeAll(async () => {
  executor = await EngineExecutor.start({ device: 'cpu', threads: 1 });
});
afterAll(() => executor.close());

function quantized(value: Float32Tensor): Float32Tensor {
  return float32(value.dims, referenceQuantized({ dims: value.dims, channelAxis: 1, scheme: SCHEME }, value).values);
}

describe('training a float side branch', () => {
  it('follows the gradients of its factors', async () => {
    const x = gaussianTensor(2, 0, [ROWS, IN]);
    const target = gaussianTensor(3, 0, [ROWS, IN]);
    const gradients = await trainingGradients(executor, { graph: twoLayers(weights), plan, parameters }, { x, target });

    const small = product(x, branch.down);
    const main = product(quantized(x), first.value);
    const side = product(small, branch.up);
    const hidden = float32(
      main.dims,
      main.data.map((value, at) => value + (side.data[at] ?? 0)),
    );
    const slope = product(slopeOf(product(quantized(hidden), second.value), target), transposed(second.value));
    const expected = {
      up: product(transposed(small), slope).data.map((value) => value * branchUnit(branch.up)),
      down: product(transposed(x), product(slope, transposed(branch.up))).data.map(
        (value) => value * branchUnit(branch.down),
      ),
    };
    for (const factor of ['down', 'up'] as const) {
      const found = gradients.get(trainableName.branch('first', factor)) ?? [];
      expect(maxAbs(expected[factor])).toBeGreaterThan(0);
      expect(maxAbsDifference(found, expected[factor])).toBeLessThanOrEqual(TOLERANCE * maxAbs(expected[factor]));
    }
  });

  it('merges shifts as whole units, in numbers that float16 holds', () => {
    const ones = float32(branch.up.dims, new Float32Array(branch.up.data.length).fill(1));
    const merged = mergeTrained(plan, parameters, new Map([[trainableName.branch('first', 'up'), ones]]));
    const moved = merged.branches.get('first');
    expect(moved?.down).toEqual(branch.down);
    expect(moved?.up.data).toEqual(
      branch.up.data.map((value) => numberFromHalf(halfFromNumber(Math.fround(value + branchUnit(branch.up))))),
    );
    expect(branchFromShifts(branch, { up: zeros('float32', branch.up.dims) })).toEqual(branch);
  });
});
