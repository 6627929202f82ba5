import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EngineExecutor } from '../../../activities/engine/engine-executor.js';
import { gaussianTensor, uniforms } from '../../../models/tensors/random.js';
import { float32, tensor } from '../../../models/tensors/tensor.js';
import { nearestTimestep } from '../../../quantization/calibration/timestep-plan.js';
import { trainableName } from '../../../quantization/conversion/lower-to-float.js';
import { roundHalfToEven } from '../../../quantization/formats/integer-grid.js';
import type { WeightScheme } from '../../../quantization/layer-plan.js';
import type { ActivationParameters } from '../../../quantization/quantized-parameters.js';
import { maxAbs, maxAbsDifference } from '../../models/autodiff/train-graph.js';
import { SCHEME } from '../conversion/lowered-quantizer.js';
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
 * Scales of tables with an entry per channel, and of groups of channels, are trained as LSQ (Esser et al., ICLR 2020) trains
 * one: ∂ĥ/∂s is round(h/s) − h/s inside of the grid and the bound outside, summed over everything that has the scale, and the
 * trainable is s / s₀. Every row of the batch has a timestep of its own.
 */

/** Float32 sums of some tens of products; the reference is in doubles. */
const TOLERANCE = 1e-5;

const TIMESTEPS = [900, 500, 100];
const GROUPS = 4;
const LAST = 15;
const WEIGHT_SCHEME: WeightScheme = { bits: 4, groupSize: null, range: 'absmax' };

let executor: EngineExecutor;
beforeAll(async () => {
  executor = await EngineExecutor.start({ device: 'cpu', threads: 1 });
});
afterAll(() => executor.close());

function table(groups: number | null): ActivationParameters {
  const columns = groups ?? HIDDEN;
  const draw = uniforms(4, columns, TIMESTEPS.length * columns);
  const choice = uniforms(5, 0, TIMESTEPS.length * HIDDEN);
  const members = Uint8Array.from(choice, (unit) => Math.floor(unit * GROUPS));
  return {
    scale: float32(
      [TIMESTEPS.length, columns],
      Float32Array.from(draw, (unit) => 0.1 + 0.3 * unit),
    ),
    zeroPoint: float32(
      [TIMESTEPS.length, columns],
      Float32Array.from(draw, (unit) => Math.floor(unit * 977) % LAST),
    ),
    spread: { axes: [1], groups: groups === null ? null : tensor('uint8', [TIMESTEPS.length, HIDDEN], members) },
  };
}

for (const groups of [null, GROUPS]) {
  describe(`scales of ${groups === null ? 'channels' : 'groups of channels'}`, () => {
    it("have LSQ's gradients, each row at its own timestep", async () => {
      const weights = [gaussianTensor(1, 0, [IN, HIDDEN]), gaussianTensor(1, 1, [HIDDEN, IN])] as const;
      const x = gaussianTensor(2, 0, [ROWS, IN]);
      const target = gaussianTensor(3, 0, [ROWS, IN]);
      const t = float32([ROWS], [900, 880, 510, 130, 900, 95]);
      const held = table(groups);
      const [first, second] = [heldWeight(weights[0], WEIGHT_SCHEME), heldWeight(weights[1], WEIGHT_SCHEME)];
      const parameters = {
        timesteps: TIMESTEPS,
        branches: new Map(),
        weights: new Map([
          ['first', { ...first, bias: null }],
          ['second', { ...second, bias: null }],
        ]),
        activations: new Map([['q0', held]]),
      };
      const plan = twoLayerPlan({ ...SCHEME, ranges: 'timestep' }, WEIGHT_SCHEME);
      const gradients = await trainingGradients(
        executor,
        { graph: twoLayers(weights), plan, parameters },
        { x, target, t },
      );

      const hidden = product(x, first.value);
      const columns = groups ?? HIDDEN;
      const places = Array.from(hidden.data, (value, at) => {
        const row = nearestTimestep(TIMESTEPS, t.data[Math.floor(at / HIDDEN)] ?? 0);
        const channel = at % HIDDEN;
        const place = row * columns + (held.spread?.groups?.data[row * HIDDEN + channel] ?? channel);
        const [scale, zero] = [held.scale.data[place] ?? 0, held.zeroPoint.data[place] ?? 0];
        const steps = value / scale;
        const clamped = Math.min(LAST - zero, Math.max(-zero, steps));
        const code = roundHalfToEven(clamped);
        return { place, scale, value: code * scale, slope: clamped === steps ? code - steps : clamped };
      });
      expect(places.some(({ slope }) => Math.abs(slope) > 1)).toBe(true);
      const quantized = float32(
        hidden.dims,
        places.map(({ value }) => value),
      );
      const byHidden = product(slopeOf(product(quantized, second.value), target), transposed(second.value));
      const expected = new Float64Array(held.scale.data.length);
      for (const [at, { place, scale, slope }] of places.entries()) {
        expected[place] = (expected[place] ?? 0) + (byHidden.data[at] ?? 0) * slope * scale;
      }
      const gradient = gradients.get(trainableName.range('q0')) ?? [];
      expect(gradient.length).toBe(TIMESTEPS.length * columns);
      expect(maxAbsDifference(gradient, expected)).toBeLessThanOrEqual(TOLERANCE * maxAbs(expected));
    });
  });
}
