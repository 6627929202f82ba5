import { describe, expect, it } from 'vitest';
import { gaussianTensor } from '../../../models/tensors/random.js';
import { float32 } from '../../../models/tensors/tensor.js';
import { trainableName } from '../../../quantization/conversion/lower-to-float.js';
import { mergeTrained } from '../../../quantization/finetuning/merge-trained.js';
import { biasUnit, unitsFromWeight, weightFromUnits } from '../../../quantization/finetuning/weight-units.js';
import { roundHalfToEven } from '../../../quantization/formats/integer-grid.js';
import type { PlannedLayer, PlannedWeight, QuantizationPlan } from '../../../quantization/layer-plan.js';
import type { QuantizedParameters, WeightParameters } from '../../../quantization/quantized-parameters.js';
import { roundToCodes } from '../../../quantization/rounding/round-nearest.js';
import { weightScales } from '../../../quantization/rounding/weight-scales.js';

/** Float32 rounding of a quotient and a product. */
const ROUNDING = 2e-7;

const PLANNED: Readonly<Record<string, PlannedWeight>> = {
  channel: weight([6, 32, 3, 3], null),
  group: weight([6, 32, 3, 3], 16),
};

function weight(dims: readonly number[], groupSize: number | null): PlannedWeight {
  const scheme = { bits: 4, groupSize, range: 'mse' as const };
  return { initializer: 'w', dims, outputAxis: 0, inputAxis: 1, bias: 'b', scheme };
}

function heldFor(planned: PlannedWeight): WeightParameters {
  const value = gaussianTensor(9, 0, planned.dims);
  return { weight: value, scales: weightScales(value, planned), bias: gaussianTensor(9, 1, [6]) };
}

describe.each(Object.entries(PLANNED))('units of a weight with a scale per %s', (_name, planned) => {
  const held = heldFor(planned);
  const units = unitsFromWeight(held, planned);

  it('stand for the weight they come from', () => {
    const back = weightFromUnits(units, held, planned);
    expect(back.scales).toEqual(held.scales);
    expect(back.bias).toEqual(held.bias);
    const error = back.weight.data.map((value, at) => Math.abs(value - (held.weight.data[at] ?? 0)));
    const largest = held.weight.data.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    expect(Math.max(...error)).toBeLessThanOrEqual(ROUNDING * largest);
    expect(roundToCodes(back.weight, back.scales, planned)).toEqual(roundToCodes(held.weight, held.scales, planned));
  });

  it('round to the weight’s codes', () => {
    const codes = units.codes.data.map((value) => Math.min(7, Math.max(-8, roundHalfToEven(value))));
    expect(Int8Array.from(codes)).toEqual(roundToCodes(held.weight, held.scales, planned));
  });

  it('move scales by factors, weights by steps and biases by mean steps', () => {
    const moved = weightFromUnits(
      {
        codes: float32(units.codes.dims, new Float32Array(units.codes.data.length).fill(3)),
        factor: float32(units.factor.dims, new Float32Array(units.factor.data.length).fill(2)),
        shift: float32([6], new Float32Array(6).fill(1)),
      },
      held,
      planned,
    );
    expect(moved.scales.data).toEqual(held.scales.data.map((scale) => 2 * scale));
    expect(new Set(roundToCodes(moved.weight, moved.scales, planned))).toEqual(new Set([3]));
    expect(moved.bias?.data).toEqual(held.bias?.data.map((value) => value + biasUnit(held)));
  });
});

describe('mergeTrained', () => {
  const planned = PLANNED.group as PlannedWeight;
  const layer = (name: string): PlannedLayer => ({
    ...{ name, node: name, opType: 'Conv', role: 'convolution', output: name, weight: planned, inputs: [] },
    ...{ skipped: null, parameters: 0, macs: 0 },
  });
  const plan: QuantizationPlan = {
    schemaVersion: 1,
    layers: [layer('a'), layer('b')],
    coverage: { layers: 1, parameters: 1, macs: 1, macsByBits: {} },
    floatBytes: 0,
    estimatedBytes: 0,
  };
  const start: QuantizedParameters = {
    timesteps: [900, 100],
    weights: new Map(['a', 'b'].map((name) => [name, heldFor(planned)])),
    branches: new Map(),
    activations: new Map(
      ['q0', 'q1'].map((id) => [id, { scale: float32([2], [0.5, 0.25]), zeroPoint: float32([2], [3, 4]) }]),
    ),
  };

  it('changes nothing without trained values', () => {
    expect(mergeTrained(plan, start, new Map())).toEqual(start);
  });

  it('changes the layers and tables that were trained, and no others', () => {
    const { codes, factor } = unitsFromWeight(heldFor(planned), planned);
    const doubled = float32(
      factor.dims,
      factor.data.map((value) => 2 * value),
    );
    const merged = mergeTrained(
      plan,
      start,
      new Map([
        [trainableName.weight('a'), codes],
        [trainableName.scales('a'), doubled],
        [trainableName.range('q1'), float32([2], [2, 4])],
      ]),
    );
    expect(merged.weights.get('b')).toBe(start.weights.get('b'));
    expect(merged.weights.get('a')?.scales.data).toEqual(start.weights.get('a')?.scales.data.map((one) => 2 * one));
    expect(merged.activations.get('q0')).toEqual(start.activations.get('q0'));
    expect([...(merged.activations.get('q1')?.scale.data ?? [])]).toEqual([1, 1]);
    expect(merged.activations.get('q1')?.zeroPoint).toEqual(start.activations.get('q1')?.zeroPoint);
    expect(merged.timesteps).toEqual(start.timesteps);
  });
});
