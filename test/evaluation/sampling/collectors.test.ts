import { describe, expect, it } from 'vitest';
import { sqnrDbOf } from '../../../evaluation/metrics/latent-sqnr.js';
import { DifferenceCollector, mergedEnergies } from '../../../evaluation/sampling/difference-collector.js';
import { FloatCollector } from '../../../evaluation/sampling/float-collector.js';
import type { SampleStep } from '../../../models/pipelines/sample-latents.js';
import { asFloat32, type Float32Tensor, float32, sliceRows, type Tensor } from '../../../models/tensors/tensor.js';

/** Two pictures of one value each; every tensor of a step holds numbers that say what it is. */
function step(stepIndex: number, next = [10 + stepIndex, 20 + stepIndex]): SampleStep {
  const of = (values: number[]): Float32Tensor => float32([2, 1], values);
  return {
    stepIndex,
    timestep: 900 - stepIndex,
    sample: of([100 + stepIndex, 200 + stepIndex]),
    negative: of([-1 - stepIndex, -2 - stepIndex]),
    positive: of([1 + stepIndex, 2 + stepIndex]),
    guided: of([0, 0]),
    next: of(next),
  };
}

const numbers = (value: Tensor | undefined): number[] => Array.from(value?.data ?? [], Number);

describe('the float collector', () => {
  it('keeps every state and the calls of its triples', () => {
    const triples = [
      { image: 8, step: 1, branch: 0 },
      { image: 9, step: 0, branch: 1 },
    ];
    const collector = new FloatCollector(8, 2, 2, [1], triples);
    collector.add(step(0));
    collector.add(step(1));
    const tensors = collector.tensors();
    expect(tensors.get('states')?.dims).toEqual([2, 2, 1]);
    expect(numbers(tensors.get('states'))).toEqual([10, 11, 20, 21]);
    expect(numbers(tensors.get('pairs.sample'))).toEqual([101, 200]);
    expect(numbers(tensors.get('pairs.output'))).toEqual([-2, 2]);
  });

  it('keeps no states of pictures beyond the compared ones', () => {
    const collector = new FloatCollector(8, 1, 2, [1], []);
    collector.add(step(0));
    expect(collector.tensors().get('states')?.dims).toEqual([1, 2, 1]);
    expect(new FloatCollector(8, 0, 2, [1], []).tensors().get('states')?.dims).toEqual([0, 2, 1]);
  });
});

describe('the difference collector', () => {
  it('sums signal and noise of each step over pictures and batches', () => {
    const states = float32([2, 2, 1], [3, 1, 4, 2]);
    const collector = new DifferenceCollector(states);
    collector.add(step(0, [3, 5]));
    collector.add(step(1, [1, 0]));
    const energies = collector.tensors().get('energies');
    expect(numbers(energies)).toEqual([25, 1, 5, 4]);
    const [first, second] = mergedEnergies([energies as Tensor, energies as Tensor]);
    expect([first?.signal, first?.noise, second?.signal, second?.noise]).toEqual([50, 2, 10, 8]);
    expect(sqnrDbOf(first as never)).toBeCloseTo(10 * Math.log10(25), 12);
  });

  it('compares only as many pictures as there are states', () => {
    const states = sliceRows(asFloat32(float32([2, 1, 1], [3, 4])), 0, 1);
    const collector = new DifferenceCollector(states);
    collector.add(step(0, [3, 5]));
    expect(numbers(collector.tensors().get('energies'))).toEqual([9, 0]);
  });
});
