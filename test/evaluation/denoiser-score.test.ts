import { describe, expect, it } from 'vitest';
import type { DenoiserComparison } from '../../evaluation/denoiser-comparison.js';
import { denoiserScore } from '../../evaluation/denoiser-score.js';
import { gaussianTensor } from '../../models/tensors/random.js';

const OPTIONS = { seed: 7, resamples: 100, protocol: 'f'.repeat(64) };

function comparison(pictures: DenoiserComparison['pictures'], calls = pictures.length): DenoiserComparison {
  const sum = (of: 'signal' | 'noise') => pictures.reduce((total, picture) => total + picture[of], 0);
  return {
    ...{ schemaVersion: 1, calls, denoiserRelativeMse: sum('noise') / sum('signal'), pictures },
    ...{ layers: [], layerTimesteps: { timesteps: [], layers: [], errors: [] }, drift: null, arithmetic: 'shipped' },
  };
}

const PICTURES = 40;
/** Calls of a picture; their errors go together, as those of one trajectory do. */
const CALLS = 6;
const MEAN_NOISE = 0.04;
const SPREAD = 0.4;

/** Energies of pictures whose noise differs from picture to picture alone; `perCall` takes every call for a picture of its own. */
function drawn(seed: number, perCall: boolean): DenoiserComparison {
  const normal = gaussianTensor(seed, 0, [PICTURES]).data;
  const pictures = Array.from(normal, (z, image) => ({ image, signal: 1, noise: MEAN_NOISE * (1 + SPREAD * z) }));
  const calls = pictures.flatMap((picture) => new Array<(typeof pictures)[number]>(CALLS).fill(picture));
  return perCall
    ? comparison(calls)
    : comparison(
        pictures.map(({ image, signal, noise }) => ({ image, signal: CALLS * signal, noise: CALLS * noise })),
        calls.length,
      );
}

const TRIALS = 200;
/** 200 trials put a coverage of 0.95 within ±0.03 (two standard errors); a percentile bootstrap of 40 pictures and 100 resamples covers about 0.93. */
const LEAST_COVERAGE = 0.89;
/** Six calls that go together, taken as independent, make the interval √6 times too narrow: coverage 0.58. */
const MOST_COVERAGE_OF_CALLS = 0.7;

function coverage(perCall: boolean): number {
  let hits = 0;
  for (let trial = 0; trial < TRIALS; trial += 1) {
    const { low, high } = denoiserScore(drawn(trial, perCall), { ...OPTIONS, seed: trial });
    if ((low ?? 1) <= MEAN_NOISE && MEAN_NOISE <= (high ?? 0)) hits += 1;
  }
  return hits / TRIALS;
}

describe('denoiser-relative-mse', () => {
  it('has an interval that holds the truth as often as it says, because it draws pictures and not calls', () => {
    expect(coverage(false)).toBeGreaterThan(LEAST_COVERAGE);
    expect(coverage(true)).toBeLessThan(MOST_COVERAGE_OF_CALLS);
  });

  it('is named after its calls, and says of how many pictures they are', () => {
    const score = denoiserScore(drawn(1, false), OPTIONS);
    expect(score).toMatchObject({ name: 'denoiser-relative-mse-240', n: 240, interval: 'bootstrap', level: 0.95 });
    expect(score.notes.join()).toMatch(/trajectories of 40 pictures/);
  });

  it('has no interval with one picture, and no value when the pipeline broke', () => {
    const one = comparison([{ image: 0, signal: 2, noise: 1 }], 16);
    expect(denoiserScore(one, OPTIONS)).toMatchObject({ value: 0.5, low: null, interval: null });
    const broken = { ...drawn(1, false), denoiserRelativeMse: Number.NaN };
    expect(denoiserScore(broken, OPTIONS)).toMatchObject({ value: null, low: null, interval: null });
  });
});
