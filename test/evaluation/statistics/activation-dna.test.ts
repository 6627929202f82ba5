import { describe, expect, test } from 'vitest';
import {
  type ActivationDna,
  activationDrift,
  activationRanges,
  DNA_BINS,
  dnaOfTensors,
  mergeActivationDna,
  tensorsOfDna,
} from '../../../evaluation/statistics/activation-dna.js';
import { binOf } from '../../../evaluation/statistics/histogram-distance.js';
import { gaussianTensor } from '../../../models/tensors/random.js';
import { readSafetensors, writeSafetensors } from '../../../models/tensors/safetensors.js';

const ranges = activationRanges([-6, 0], [6, 5]);

/** Two layers at two timesteps; layer 1 lies in its range's middle. */
function dna(seed: number, shift = 0, count = 4000): ActivationDna {
  const counts = new Float64Array(2 * 2 * DNA_BINS);
  for (let at = 0; at < 4; at += 1) {
    const layer = at >> 1;
    for (const value of gaussianTensor(seed, at, [count]).data) {
      const place = layer === 0 ? value + shift : value / 4 + 2.5;
      const bin = binOf(place, ranges.low[layer] ?? 0, ranges.binWidth[layer] ?? 1, DNA_BINS);
      counts[at * DNA_BINS + bin] = (counts[at * DNA_BINS + bin] ?? 0) + 1;
    }
  }
  return { layers: ['a', 'b'], timesteps: [900, 100], ranges, counts };
}

describe('activation histograms', () => {
  test('drift by 0 from themselves, and by a shift in standard deviations of the layer that was shifted alone', () => {
    const float = dna(1);
    expect(activationDrift(float, float).errors).toEqual([
      [0, 0],
      [0, 0],
    ]);
    const { errors, timesteps, layers } = activationDrift(float, dna(1, 0.25));
    expect([timesteps, layers]).toEqual([
      [900, 100],
      ['a', 'b'],
    ]);
    // a standard deviation of 1 known from 8000 values within 2 %, and half a bin of 0.014
    for (const value of errors[0] ?? []) expect(Math.abs(value - 0.25)).toBeLessThan(0.02);
    expect(errors[1]).toEqual([0, 0]);
  });

  test('add up over shards, and come back from a file as they were', () => {
    const [a, b] = [dna(1), dna(2)];
    const both = mergeActivationDna(a, b);
    expect(both.counts.reduce((sum, count) => sum + count, 0)).toBe(2 * 4 * 4000);
    expect(both.counts[700]).toBe((a.counts[700] ?? 0) + (b.counts[700] ?? 0));
    const { tensors, metadata } = tensorsOfDna(both);
    const file = readSafetensors(writeSafetensors(tensors, metadata));
    const read = dnaOfTensors(file.tensors, file.metadata);
    expect(Buffer.compare(Buffer.from(read.counts.slice().buffer), Buffer.from(both.counts.buffer))).toBe(0);
    expect({ ...read, counts: null }).toEqual({ ...both, counts: null });
  });

  test('of other bins do not go together, and other files are refused', () => {
    const other = { ...dna(2), ranges: activationRanges([-5, 0], [6, 5]) };
    expect(() => mergeActivationDna(dna(1), other)).toThrow(/other layers, timesteps or bins/);
    expect(() => activationDrift(dna(1), { ...dna(1), timesteps: [900, 99] })).toThrow(/other layers/);
    expect(() => dnaOfTensors(new Map(), {})).toThrow(/no activation histograms/);
  });

  test('have bins of some width for a layer that never changes', () => {
    expect([...activationRanges([0, 3], [0, 3]).binWidth].every((width) => width > 0)).toBe(true);
  });
});
