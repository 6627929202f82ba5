import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readSafetensors, writeSafetensors } from '../../../models/tensors/safetensors.js';
import { type Float32Tensor, float32 } from '../../../models/tensors/tensor.js';
import {
  checkpointFromState,
  type FinetuningState,
  stateFromCheckpoint,
} from '../../../quantization/finetuning/finetuning-state.js';

const vector: fc.Arbitrary<Float32Tensor> = fc
  .float32Array({ minLength: 1, maxLength: 6, noNaN: true })
  .map((data) => float32([data.length], data));
const number = fc.double({ noNaN: true, noDefaultInfinity: true });
const count = fc.nat(10_000);
const named = (prefix: string): fc.Arbitrary<Map<string, Float32Tensor>> =>
  fc.array(vector, { maxLength: 4 }).map((all) => new Map(all.map((one, index) => [`${prefix}${index}`, one])));

const state: fc.Arbitrary<FinetuningState> = fc
  .record({
    phase: count,
    step: count,
    stepsBefore: count,
    bestValidation: number,
    stale: count,
    lossSum: number,
    lossCount: count,
    trainingBefore: number,
    curve: fc.array(fc.record({ phase: fc.string(), step: count, validation: number, loss: fc.option(number) }), {
      maxLength: 3,
    }),
    bestTrained: named('train/down.0.conv/weight'),
    live: named('train/q3/scale.m'),
    weight: vector,
    bias: fc.option(vector),
    scale: vector,
  })
  .map(({ weight, bias, scale, ...rest }) => ({
    ...rest,
    start: {
      timesteps: [999, 499, 49],
      weights: new Map([['mid_block.attn.to_q', { weight, scales: scale, bias }]]),
      branches: new Map(),
      activations: new Map([['q0', { scale, zeroPoint: scale }]]),
    },
  }));

describe('a finetuning checkpoint', () => {
  it('comes back from a safetensors file as it was, every bit', () => {
    fc.assert(
      fc.property(state, (before) => {
        const { tensors, metadata } = checkpointFromState(before);
        const file = readSafetensors(writeSafetensors(tensors, metadata));
        const after = stateFromCheckpoint(file.tensors, file.metadata);
        // JSON writes −0 as 0; no count or error is ever negative.
        expect(after).toEqual({ ...before, ...JSON.parse(JSON.stringify(scalars(before))) });
      }),
    );
  });
});

function scalars({ start: _start, bestTrained: _best, live: _live, ...rest }: FinetuningState): object {
  return rest;
}
