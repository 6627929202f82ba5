import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { NibbleflowError } from '../../../contracts/errors.js';
import { createSampler, SUPPORTED_SCHEDULERS } from '../../../models/samplers/create-sampler.js';
import type { Sampler } from '../../../models/samplers/sampler.js';
import { tensorFromNpy } from '../../../models/tensors/npy.js';
import { asFloat32, type Float32Tensor, float32, sliceRows } from '../../../models/tensors/tensor.js';

const GOLDEN = new URL('../../golden/samplers/', import.meta.url);

/** The goldens' own tolerance: diffusers in float32 is within 5.5e-7 of its float64 run; the rest is order of summation. */
const TRAJECTORY_TOLERANCE = 2e-5;
/** Relative; tables of σ are float32 in both. */
const SIGMA_TOLERANCE = 1e-5;

interface GoldenCase {
  readonly num_inference_steps: number;
  readonly step_kwargs: { readonly eta?: number };
  readonly timesteps: readonly number[];
  readonly timesteps_dtype: string;
  readonly init_noise_sigma: number;
  readonly noise_used_at_step: readonly number[];
  readonly max_abs_state: number;
}

function read(name: string, file: string): Buffer {
  return readFileSync(new URL(`${name}/${file}`, GOLDEN));
}

function readJson<T>(name: string, file: string): T {
  return JSON.parse(read(name, file).toString('utf8')) as T;
}

function readTensor(name: string, file: string): Float32Tensor {
  return asFloat32(tensorFromNpy(read(name, file)));
}

function row(value: Float32Tensor, index: number): Float32Tensor {
  return float32(value.dims.slice(1), sliceRows(value, index, index + 1).data);
}

/** The goldens' toy model: m(x, t) = 0.3 x cos(t/500) + 0.1 sin(x + t/250). */
function toyModel(x: Float32Tensor, t: number): Float32Tensor {
  return float32(
    x.dims,
    x.data.map((value) => 0.3 * value * Math.cos(t / 500) + 0.1 * Math.sin(value + t / 250)),
  );
}

interface Walk {
  readonly states: readonly Float32Tensor[];
  readonly noiseUsedAt: readonly number[];
}

function walk(sampler: Sampler, start: Float32Tensor, noises: Float32Tensor | null): Walk {
  let sample = float32(
    start.dims,
    start.data.map((value) => value * sampler.initNoiseSigma),
  );
  const states = [sample];
  const noiseUsedAt: number[] = [];
  for (const [stepIndex, timestep] of sampler.timesteps.entries()) {
    const output = toyModel(sampler.scaleInput(sample, stepIndex), timestep);
    sample = sampler.step(output, stepIndex, sample, () => {
      if (noises === null) throw new Error(`step ${stepIndex} asked for noise the reference did not use`);
      noiseUsedAt.push(stepIndex);
      return row(noises, noiseUsedAt.length - 1);
    });
    states.push(sample);
  }
  return { states, noiseUsedAt };
}

const CASES = readdirSync(GOLDEN).filter((name) => !name.startsWith('_'));

describe('createSampler', () => {
  it('has a golden case of every supported scheduler', () => {
    const covered = new Set(
      CASES.map((name) => readJson<{ _class_name: string }>(name, 'scheduler_config.json')._class_name),
    );
    expect([...covered].sort()).toEqual([...SUPPORTED_SCHEDULERS].sort());
  });

  it.each(CASES)('follows diffusers through %s', (name) => {
    const golden = readJson<GoldenCase>(name, 'case.json');
    const sampler = createSampler(
      readJson(name, 'scheduler_config.json'),
      golden.num_inference_steps,
      golden.step_kwargs,
    );
    if (golden.timesteps_dtype === 'int64') expect(sampler.timesteps).toEqual(golden.timesteps);
    expect(sampler.timesteps.length).toBe(golden.timesteps.length);
    for (const [i, timestep] of golden.timesteps.entries()) {
      expect(Math.abs((sampler.timesteps[i] ?? Number.NaN) - timestep)).toBeLessThanOrEqual(
        SIGMA_TOLERANCE * Math.max(1, timestep),
      );
    }
    expect(Math.abs(sampler.initNoiseSigma / golden.init_noise_sigma - 1)).toBeLessThan(SIGMA_TOLERANCE);

    const noises = golden.noise_used_at_step.length > 0 ? readTensor(name, 'noises.npy') : null;
    const { states, noiseUsedAt } = walk(sampler, readTensor(name, 'init_noise.npy'), noises);
    expect(noiseUsedAt).toEqual(golden.noise_used_at_step);
    const trajectory = readTensor(name, 'trajectory.npy');
    expect(states.length).toBe(trajectory.dims[0]);
    const limit = TRAJECTORY_TOLERANCE * Math.max(1, golden.max_abs_state);
    for (const [i, state] of states.entries()) {
      const expected = row(trajectory, i);
      const worst = state.data.reduce((max, value, k) => Math.max(max, Math.abs(value - (expected.data[k] ?? 0))), 0);
      expect(worst, `state ${i}`).toBeLessThanOrEqual(limit);
    }
  });

  it.each(CASES)('is bit-identical when %s is walked twice with one sampler', (name) => {
    const golden = readJson<GoldenCase>(name, 'case.json');
    const sampler = createSampler(
      readJson(name, 'scheduler_config.json'),
      golden.num_inference_steps,
      golden.step_kwargs,
    );
    const noises = golden.noise_used_at_step.length > 0 ? readTensor(name, 'noises.npy') : null;
    const start = readTensor(name, 'init_noise.npy');
    const first = walk(sampler, start, noises).states.at(-1);
    const second = walk(sampler, start, noises).states.at(-1);
    expect(
      Buffer.from(second?.data.buffer ?? new ArrayBuffer(0)).equals(
        Buffer.from(first?.data.buffer ?? new ArrayBuffer(1)),
      ),
    ).toBe(true);
  });
});

describe('createSampler on what it cannot do', () => {
  const failureOf = (config: unknown, steps = 10): NibbleflowError => {
    try {
      createSampler(config, steps);
    } catch (error) {
      if (error instanceof NibbleflowError) return error;
      throw error;
    }
    throw new Error('expected a failure');
  };

  it('names an unknown scheduler, the nearest one and all supported ones', () => {
    const failure = failureOf({ _class_name: 'DDIMSchedular' });
    expect(failure.kind).toBe('InvalidModel');
    expect(failure.message).toContain('DDIMSchedular');
    expect(failure.message).toContain('nearest one is DDIMScheduler');
    for (const supported of SUPPORTED_SCHEDULERS) expect(failure.message).toContain(supported);
  });

  it.each([null, 'text', {}, { _class_name: 3 }])('refuses a config without a class name: %j', (config) => {
    expect(failureOf(config).kind).toBe('InvalidModel');
  });

  it('names every wrong key', () => {
    const failure = failureOf({ _class_name: 'DDIMScheduler', beta_schedule: 'cubic', clip_sample: 'yes' });
    expect(failure.kind).toBe('InvalidModel');
    expect(failure.message).toContain('beta_schedule');
    expect(failure.message).toContain('clip_sample');
  });

  it.each([
    [{ _class_name: 'DDIMScheduler', thresholding: true }, 'thresholding'],
    [{ _class_name: 'DDPMScheduler', variance_type: 'learned_range' }, 'learned_range'],
    [{ _class_name: 'EulerDiscreteScheduler', use_beta_sigmas: true }, 'use_beta_sigmas'],
    [{ _class_name: 'PNDMScheduler', skip_prk_steps: false }, 'skip_prk_steps'],
    [{ _class_name: 'FlowMatchEulerDiscreteScheduler', use_dynamic_shifting: true }, 'use_dynamic_shifting'],
  ])('refuses %j instead of sampling something else', (config, named) => {
    const failure = failureOf(config);
    expect(failure.kind).toBe('InvalidModel');
    expect(failure.message).toContain(named);
  });

  it.each([0, 1001, 2.5])('refuses %d steps', (steps) => {
    const failure = failureOf({ _class_name: 'DDIMScheduler' }, steps);
    expect(failure.kind).toBe('InvalidRecipe');
    expect(failure.message).toContain('1000');
  });

  it('refuses multistep steps out of order', () => {
    const sampler = createSampler({ _class_name: 'PNDMScheduler', skip_prk_steps: true }, 10);
    const x = float32([1], [1]);
    const noNoise = (): Float32Tensor => x;
    sampler.step(x, 0, x, noNoise);
    expect(() => sampler.step(x, 2, x, noNoise)).toThrow(RangeError);
  });

  it('refuses outputs of other dims than the sample', () => {
    const sampler = createSampler({ _class_name: 'DDIMScheduler' }, 10);
    expect(() => sampler.step(float32([2], [1, 1]), 0, float32([1], [1]), () => float32([1], [0]))).toThrow(RangeError);
  });
});
