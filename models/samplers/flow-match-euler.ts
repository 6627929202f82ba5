import { z } from 'zod';
import { at, linearCombination } from './linear-combination.js';
import { linspace } from './noise-schedule.js';
import type { Sampler } from './sampler.js';
import { checkSteps, parseSamplerConfig, refuse } from './sampler-config.js';

const configSchema = z.object({
  num_train_timesteps: z.number().int().min(1).max(1_000_000).default(1000),
  shift: z.number().positive().default(1),
  use_dynamic_shifting: z.boolean().nullish(),
  invert_sigmas: z.boolean().nullish(),
  shift_terminal: z.number().nullish(),
  use_karras_sigmas: z.boolean().nullish(),
  use_exponential_sigmas: z.boolean().nullish(),
  use_beta_sigmas: z.boolean().nullish(),
  stochastic_sampling: z.boolean().nullish(),
});

/**
 * Euler steps of a rectified flow x = (1−σ) x₀ + σ ε with the model's velocity v = ε − x₀ ("Scaling rectified flow
 * transformers", Esser et al. 2024), read as diffusers' FlowMatchEulerDiscreteScheduler: x' = x + (σ' − σ) v, t = 1000 σ.
 * σ ↦ shift σ/(1 + (shift − 1) σ) is applied twice, as set_timesteps does: to the ends of the training table, and to the
 * evenly spaced numbers between those.
 * @throws NibbleflowError InvalidModel for settings it cannot follow, InvalidRecipe for an impossible number of steps
 */
export function createFlowMatchEuler(rawConfig: unknown, steps: number): Sampler {
  const config = parseSamplerConfig(configSchema, rawConfig, 'FlowMatchEulerDiscreteScheduler');
  refuse('FlowMatchEulerDiscreteScheduler', {
    'use_dynamic_shifting: true': config.use_dynamic_shifting === true,
    'invert_sigmas: true': config.invert_sigmas === true,
    shift_terminal: Boolean(config.shift_terminal),
    'use_karras_sigmas: true': config.use_karras_sigmas === true,
    'use_exponential_sigmas: true': config.use_exponential_sigmas === true,
    'use_beta_sigmas: true': config.use_beta_sigmas === true,
    'stochastic_sampling: true': config.stochastic_sampling === true,
  });
  const { num_train_timesteps: trainTimesteps, shift } = config;
  checkSteps(steps, trainTimesteps);
  const shifted = (sigma: number): number => (shift * sigma) / (1 + (shift - 1) * sigma);
  const largest = Math.fround(shifted(1));
  const smallest = Math.fround(shifted(Math.fround(1 / trainTimesteps)));
  const sigmas = Array.from(linspace(largest, smallest, steps), (sigma) => Math.fround(shifted(sigma)));
  const timesteps = sigmas.map((sigma) => Math.fround(sigma * trainTimesteps));
  const table = [...sigmas, 0];

  return {
    timesteps,
    initNoiseSigma: 1,
    scaleInput: (sample) => sample,
    step: (output, stepIndex, sample) =>
      linearCombination([
        [1, sample],
        [at(table, stepIndex + 1) - at(table, stepIndex), output],
      ]),
  };
}
