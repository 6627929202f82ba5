import { z } from 'zod';
import { at, linearCombination, scaled } from './linear-combination.js';
import { alphasCumprod, linspace } from './noise-schedule.js';
import type { PredictionType, Sampler } from './sampler.js';
import { checkSteps, noiseConfigShape, parseSamplerConfig, refuse, timestepSpacingSchema } from './sampler-config.js';
import { spacedTimesteps } from './timestep-spacing.js';

const configSchema = z.object({
  ...noiseConfigShape,
  prediction_type: z.enum(['epsilon', 'v_prediction', 'sample', 'original_sample']).default('epsilon'),
  interpolation_type: z.string().default('linear'),
  use_karras_sigmas: z.boolean().nullish(),
  use_exponential_sigmas: z.boolean().nullish(),
  use_beta_sigmas: z.boolean().nullish(),
  sigma_min: z.number().positive().nullish(),
  sigma_max: z.number().positive().nullish(),
  timestep_spacing: timestepSpacingSchema.default('linspace'),
  timestep_type: z.string().default('discrete'),
  steps_offset: z.number().int().default(0),
  final_sigmas_type: z.enum(['zero', 'sigma_min']).default('zero'),
});

/** ᾱ at the last timestep of a zero-terminal-SNR schedule, so that σ stays finite; as diffusers. */
const TERMINAL_ALPHA_BAR = 2 ** -24;

/** ρ of the Karras spacing of σ. */
const KARRAS_RHO = 7;

/**
 * Euler steps of the probability flow in σ = √((1−ᾱ)/ᾱ): algorithm 2 of "Elucidating the design space of diffusion-based
 * generative models" (Karras et al. 2022) without churn, read as diffusers' EulerDiscreteScheduler:
 * x' = x + (σ' − σ)(x − x₀)/σ; the denoiser sees x/√(σ² + 1).
 * @throws NibbleflowError InvalidModel for settings it cannot follow, InvalidRecipe for an impossible number of steps
 */
export function createEulerDiscrete(rawConfig: unknown, steps: number): Sampler {
  const config = parseSamplerConfig(configSchema, rawConfig, 'EulerDiscreteScheduler');
  refuse('EulerDiscreteScheduler', {
    [`interpolation_type: ${config.interpolation_type}`]: config.interpolation_type !== 'linear',
    'use_exponential_sigmas: true': config.use_exponential_sigmas === true,
    'use_beta_sigmas: true': config.use_beta_sigmas === true,
    [`timestep_type: ${config.timestep_type}`]: config.timestep_type !== 'discrete',
  });
  checkSteps(steps, config.num_train_timesteps);
  const alphaBars = alphasCumprod(config);
  if (config.rescale_betas_zero_snr) alphaBars[alphaBars.length - 1] = TERMINAL_ALPHA_BAR;
  const trainSigmas = alphaBars.map((alphaBar) => Math.fround(Math.sqrt((1 - alphaBar) / alphaBar)));
  const { timesteps, sigmas } = sigmaTable(config, steps, trainSigmas);
  const largest = Math.max(...sigmas);
  const predictionType: PredictionType =
    config.prediction_type === 'original_sample' ? 'sample' : config.prediction_type;

  return {
    timesteps,
    initNoiseSigma: config.timestep_spacing === 'leading' ? Math.sqrt(largest * largest + 1) : largest,
    scaleInput: (sample, stepIndex) => scaled(sample, 1 / Math.sqrt(at(sigmas, stepIndex) ** 2 + 1)),
    step(output, stepIndex, sample) {
      const sigma = at(sigmas, stepIndex);
      const change = (at(sigmas, stepIndex + 1) - sigma) / sigma;
      const x0 = denoisedForm(predictionType, sigma);
      return linearCombination([
        [1 + change * (1 - x0.sample), sample],
        [-change * x0.output, output],
      ]);
    },
  };
}

/** x₀ as a linear form of x = x₀ + σ ε and the model's output. */
function denoisedForm(type: PredictionType, sigma: number): { readonly sample: number; readonly output: number } {
  switch (type) {
    case 'epsilon':
      return { sample: 1, output: -sigma };
    case 'sample':
      return { sample: 0, output: 1 };
    case 'v_prediction':
      return { sample: 1 / (sigma * sigma + 1), output: -sigma / Math.sqrt(sigma * sigma + 1) };
  }
}

function sigmaTable(
  config: z.output<typeof configSchema>,
  steps: number,
  trainSigmas: Float64Array,
): { timesteps: number[]; sigmas: number[] } {
  let timesteps = spacedTimesteps(config.timestep_spacing, steps, config.num_train_timesteps, {
    stepsOffset: config.steps_offset,
    rounded: config.timestep_spacing !== 'linspace',
  });
  let sigmas = timesteps.map((timestep) => interpolate(trainSigmas, timestep));
  if (config.use_karras_sigmas) {
    const smallest = config.sigma_min ?? at(sigmas, sigmas.length - 1);
    const largest = config.sigma_max ?? at(sigmas, 0);
    sigmas = karrasSigmas(smallest, largest, steps);
    const logSigmas = trainSigmas.map((sigma) => Math.fround(Math.log(sigma)));
    timesteps = sigmas.map((sigma) => Math.fround(timestepOfSigma(sigma, logSigmas)));
  }
  const last = config.final_sigmas_type === 'zero' ? 0 : at(trainSigmas, 0);
  return { timesteps, sigmas: [...sigmas, last].map(Math.fround) };
}

/** Value of a table at a fractional index; the ends beyond it (numpy.interp). */
function interpolate(table: Float64Array, index: number): number {
  const clamped = Math.min(Math.max(index, 0), table.length - 1);
  const low = Math.min(Math.floor(clamped), table.length - 2);
  if (low < 0) return at(table, 0);
  return at(table, low) + (clamped - low) * (at(table, low + 1) - at(table, low));
}

/** σ_i = (σ_max^(1/ρ) + i/(n−1) (σ_min^(1/ρ) − σ_max^(1/ρ)))^ρ: formula (5) of Karras et al. 2022. */
function karrasSigmas(smallest: number, largest: number, steps: number): number[] {
  const low = smallest ** (1 / KARRAS_RHO);
  const high = largest ** (1 / KARRAS_RHO);
  return Array.from(linspace(0, 1, steps), (ramp) => (high + ramp * (low - high)) ** KARRAS_RHO);
}

/** The fractional training timestep whose log σ is this one, by linear interpolation; `logSigmas` ascend. */
function timestepOfSigma(sigma: number, logSigmas: Float64Array): number {
  const logSigma = Math.log(Math.max(sigma, 1e-10));
  let low = 0;
  while (low < logSigmas.length - 2 && at(logSigmas, low + 1) <= logSigma) low += 1;
  const weight = (at(logSigmas, low) - logSigma) / (at(logSigmas, low) - at(logSigmas, low + 1));
  return low + Math.min(Math.max(weight, 0), 1);
}
