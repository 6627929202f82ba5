import { describe, expect, it } from 'vitest';
import { FloatCollector } from '../../../evaluation/sampling/float-collector.js';
import { PictureDifferences } from '../../../evaluation/sampling/picture-differences.js';
import type { SampleStep } from '../../../models/pipelines/sample-latents.js';
import { type Float32Tensor, float32, type Tensor } from '../../../models/tensors/tensor.js';

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

describe('the differences of pictures', () => {
  it('are signal and noise of each picture and step', () => {
    const collector = new PictureDifferences(float32([2, 2, 1], [3, 1, 4, 2]));
    collector.add(step(0, [3, 5]));
    collector.add(step(1, [1, 0]));
    const energies = collector.tensors().get('energies');
    expect(energies?.dims).toEqual([2, 2, 2]);
    expect(numbers(energies)).toEqual([9, 0, 1, 0, 16, 1, 4, 4]);
  });

  it('leave out pictures that have no float states', () => {
    const collector = new PictureDifferences(float32([1, 1, 1], [3]));
    collector.add(step(0, [3, 5]));
    expect(numbers(collector.tensors().get('energies'))).toEqual([9, 0]);
  });
});
