import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { alphasCumprod, betasOf, linspace, rescaleZeroTerminalSnr } from '../../../models/samplers/noise-schedule.js';
import { tensorFromNpy } from '../../../models/tensors/npy.js';
import { asFloat32 } from '../../../models/tensors/tensor.js';

const GOLDEN = new URL('../../golden/samplers/_add_noise/', import.meta.url);

/** Relative, of the goldens: a few float32 roundings apart. */
const TABLE_TOLERANCE = 1e-6;

const SCHEDULES = {
  linear: { beta_start: 0.0001, beta_end: 0.02, beta_schedule: 'linear' },
  scaled_linear: { beta_start: 0.00085, beta_end: 0.012, beta_schedule: 'scaled_linear' },
  squaredcos_cap_v2: { beta_start: 0.0001, beta_end: 0.02, beta_schedule: 'squaredcos_cap_v2' },
} as const;

function golden(file: string): Float32Array {
  return asFloat32(tensorFromNpy(readFileSync(new URL(file, GOLDEN)))).data;
}

function worstRelative(values: Float64Array, expected: Float32Array): number {
  expect(values.length).toBe(expected.length);
  return values.reduce((max, value, i) => Math.max(max, Math.abs(value / (expected[i] ?? Number.NaN) - 1)), 0);
}

describe('noise schedules', () => {
  it.each(Object.keys(SCHEDULES) as (keyof typeof SCHEDULES)[])('%s equals the tables of diffusers', (name) => {
    const config = { num_train_timesteps: 1000, ...SCHEDULES[name] };
    // torch computes the cosine betas as 1 - ratio in doubles too; float32 rounding of 1 - beta is all that differs.
    expect(worstRelative(betasOf(config), golden(`${name}_betas.npy`))).toBeLessThan(TABLE_TOLERANCE);
    expect(worstRelative(alphasCumprod(config), golden(`${name}_alphas_cumprod.npy`))).toBeLessThan(TABLE_TOLERANCE);
  });

  it('ends at exactly zero and keeps its start when rescaled to zero terminal SNR', () => {
    const config = { num_train_timesteps: 1000, ...SCHEDULES.scaled_linear };
    const plain = alphasCumprod(config);
    const rescaled = alphasCumprod({ ...config, rescale_betas_zero_snr: true });
    expect(rescaled[999]).toBe(0);
    expect(Math.abs((rescaled[0] ?? 0) / (plain[0] ?? 1) - 1)).toBeLessThan(TABLE_TOLERANCE);
    expect(rescaleZeroTerminalSnr(betasOf(config))[999]).toBe(1);
  });

  it('takes trained betas as they are', () => {
    const alphas = alphasCumprod({ num_train_timesteps: 2, ...SCHEDULES.linear, trained_betas: [0.5, 0.25] });
    expect([...alphas]).toEqual([0.5, 0.375]);
  });

  it('spaces numbers evenly, both ends included', () => {
    expect([...linspace(0, 1, 5)]).toEqual([0, 0.25, 0.5, 0.75, 1]);
    expect([...linspace(3, 9, 1)]).toEqual([3]);
  });
});
