import { z } from 'zod';
import { type Float32Tensor, float32 } from '../tensors/tensor.js';
import { at, checkSameDims } from './linear-combination.js';
import { alphasCumprod } from './noise-schedule.js';
import type { PredictionType, Sampler, SamplerOptions } from './sampler.js';
import {
  checkSteps,
  clippingShape,
  noiseConfigShape,
  parseSamplerConfig,
  predictionTypeSchema,
  refuse,
  timestepSpacingSchema,
} from './sampler-config.js';
import { spacedTimesteps } from './timestep-spacing.js';

const configSchema = z.object({
  ...noiseConfigShape,
  ...clippingShape,
  prediction_type: predictionTypeSchema,
  set_alpha_to_one: z.boolean().default(true),
  steps_offset: z.number().int().default(0),
  timestep_spacing: timestepSpacingSchema.default('leading'),
});

/** The predicted x₀ and ε as linear forms of x_t and the model's output. */
export interface PredictionForms {
  readonly x0: { readonly sample: number; readonly output: number };
  readonly epsilon: { readonly sample: number; readonly output: number };
}

/**
 * x₀ and ε from the model's output m at ᾱ: epsilon: ε = m, x₀ = (x − √(1−ᾱ) m)/√ᾱ; sample: x₀ = m, ε = (x − √ᾱ m)/√(1−ᾱ);
 * v: x₀ = √ᾱ x − √(1−ᾱ) m, ε = √ᾱ m + √(1−ᾱ) x ("Progressive distillation", Salimans and Ho 2022).
 */
export function predictionForms(type: PredictionType, alphaBar: number): PredictionForms {
  const signal = Math.sqrt(alphaBar);
  const noise = Math.sqrt(1 - alphaBar);
  switch (type) {
    case 'epsilon':
      return { x0: { sample: 1 / signal, output: -noise / signal }, epsilon: { sample: 0, output: 1 } };
    case 'sample':
      return { x0: { sample: 0, output: 1 }, epsilon: { sample: 1 / noise, output: -signal / noise } };
    case 'v_prediction':
      return { x0: { sample: signal, output: -noise }, epsilon: { sample: noise, output: signal } };
  }
}

/**
 * Denoising diffusion implicit models (Song, Meng, Ermon 2020), formulas (12) and (16), read as diffusers' DDIMScheduler:
 * x' = √ᾱ' x₀ + √(1 − ᾱ' − σ²) ε + σ z, σ = η √((1−ᾱ')/(1−ᾱ)) √(1 − ᾱ/ᾱ'), with x₀ clipped when clip_sample is set (ε is
 * not recomputed). The previous timestep is t − ⌊T/steps⌋ whatever the spacing; below 0, ᾱ' is 1 or ᾱ_0 (set_alpha_to_one).
 * @throws NibbleflowError InvalidModel for settings it cannot follow, InvalidRecipe for an impossible number of steps
 */
export function createDdim(rawConfig: unknown, steps: number, options: SamplerOptions = {}): Sampler {
  const config = parseSamplerConfig(configSchema, rawConfig, 'DDIMScheduler');
  refuse('DDIMScheduler', { 'thresholding: true': config.thresholding === true });
  checkSteps(steps, config.num_train_timesteps);
  const eta = options.eta ?? 0;
  const alphaBars = alphasCumprod(config);
  const finalAlphaBar = config.set_alpha_to_one ? 1 : at(alphaBars, 0);
  const stride = Math.floor(config.num_train_timesteps / steps);
  const timesteps = spacedTimesteps(config.timestep_spacing, steps, config.num_train_timesteps, {
    stepsOffset: config.steps_offset,
  });
  const limit = config.clip_sample ? config.clip_sample_range : Number.POSITIVE_INFINITY;

  return {
    timesteps,
    initNoiseSigma: 1,
    scaleInput: (sample) => sample,
    step(output, stepIndex, sample, noise) {
      const timestep = at(timesteps, stepIndex);
      const alphaBar = at(alphaBars, timestep);
      const previous = timestep - stride;
      const previousAlphaBar = previous >= 0 ? at(alphaBars, previous) : finalAlphaBar;
      const variance = ((1 - previousAlphaBar) / (1 - alphaBar)) * (1 - alphaBar / previousAlphaBar);
      const sigma = eta * Math.sqrt(variance);
      return ddimUpdate(output, sample, predictionForms(config.prediction_type, alphaBar), {
        limit,
        x0: Math.sqrt(previousAlphaBar),
        epsilon: Math.sqrt(1 - previousAlphaBar - sigma * sigma),
        sigma,
        noise: eta > 0 ? noise() : null,
      });
    },
  };
}

interface DdimCoefficients {
  readonly limit: number;
  readonly x0: number;
  readonly epsilon: number;
  readonly sigma: number;
  readonly noise: Float32Tensor | null;
}

function ddimUpdate(
  output: Float32Tensor,
  sample: Float32Tensor,
  forms: PredictionForms,
  coefficients: DdimCoefficients,
): Float32Tensor {
  const { limit, noise } = coefficients;
  checkSameDims(sample.dims, output.dims);
  if (noise !== null) checkSameDims(sample.dims, noise.dims);
  const result = new Float32Array(sample.data.length);
  for (let i = 0; i < result.length; i += 1) {
    const x = sample.data[i] ?? 0;
    const m = output.data[i] ?? 0;
    const x0 = Math.min(limit, Math.max(-limit, forms.x0.sample * x + forms.x0.output * m));
    const epsilon = forms.epsilon.sample * x + forms.epsilon.output * m;
    const z = noise === null ? 0 : (noise.data[i] ?? 0);
    result[i] = coefficients.x0 * x0 + coefficients.epsilon * epsilon + coefficients.sigma * z;
  }
  return float32(sample.dims, result);
}
