import { z } from 'zod';
import { type Float32Tensor, float32 } from '../tensors/tensor.js';
import { discreteDiffusion, discreteDiffusionShape } from './discrete-diffusion.js';
import { at, checkSameDims } from './linear-combination.js';
import type { Sampler } from './sampler.js';
import { parseSamplerConfig, refuse } from './sampler-config.js';

const configSchema = z.object({
  ...discreteDiffusionShape,
  variance_type: z
    .enum(['fixed_small', 'fixed_small_log', 'fixed_large', 'fixed_large_log', 'learned', 'learned_range'])
    .default('fixed_small'),
});

/** Smallest variance, so that its logarithm exists; as diffusers. */
const MIN_VARIANCE = 1e-20;

/**
 * Denoising diffusion probabilistic models (Ho, Jain, Abbeel 2020), formula (7), read as diffusers' DDPMScheduler:
 * x' = (√ᾱ' β/(1−ᾱ)) x₀ + (√α (1−ᾱ')/(1−ᾱ)) x + √variance z, where ' is the next timestep of the list (ᾱ' = 1 at its end),
 * α = ᾱ/ᾱ', β = 1 − α, variance = (1−ᾱ')/(1−ᾱ) β (fixed_small) or β (fixed_large). No noise at timestep 0.
 * @throws NibbleflowError InvalidModel for settings it cannot follow, InvalidRecipe for an impossible number of steps
 */
export function createDdpm(rawConfig: unknown, steps: number): Sampler {
  const config = parseSamplerConfig(configSchema, rawConfig, 'DDPMScheduler');
  const varianceType = config.variance_type;
  refuse('DDPMScheduler', {
    'thresholding: true': config.thresholding === true,
    [`variance_type: ${varianceType}`]: varianceType.startsWith('learned') || varianceType === 'fixed_large_log',
  });
  const { timesteps, alphaBars, limit, formsAt } = discreteDiffusion(config, steps);

  return {
    timesteps,
    initNoiseSigma: 1,
    scaleInput: (sample) => sample,
    step(output, stepIndex, sample, noise) {
      const timestep = at(timesteps, stepIndex);
      const alphaBar = at(alphaBars, timestep);
      const next = timesteps[stepIndex + 1];
      const previousAlphaBar = next === undefined ? 1 : at(alphaBars, next);
      const alpha = alphaBar / previousAlphaBar;
      const smallVariance = Math.max(((1 - previousAlphaBar) / (1 - alphaBar)) * (1 - alpha), MIN_VARIANCE);
      const form = formsAt(timestep).x0;
      const fresh = timestep > 0 ? noise() : null;
      return posteriorSample(output, sample, fresh, {
        form,
        limit,
        x0: (Math.sqrt(previousAlphaBar) * (1 - alpha)) / (1 - alphaBar),
        sample: (Math.sqrt(alpha) * (1 - previousAlphaBar)) / (1 - alphaBar),
        deviation: Math.sqrt(varianceType === 'fixed_large' ? 1 - alpha : smallVariance),
      });
    },
  };
}

interface PosteriorCoefficients {
  readonly form: { readonly sample: number; readonly output: number };
  readonly limit: number;
  readonly x0: number;
  readonly sample: number;
  readonly deviation: number;
}

function posteriorSample(
  output: Float32Tensor,
  sample: Float32Tensor,
  noise: Float32Tensor | null,
  coefficients: PosteriorCoefficients,
): Float32Tensor {
  const { form, limit, deviation } = coefficients;
  checkSameDims(sample.dims, output.dims);
  if (noise !== null) checkSameDims(sample.dims, noise.dims);
  const result = new Float32Array(sample.data.length);
  for (let i = 0; i < result.length; i += 1) {
    const x = sample.data[i] ?? 0;
    const x0 = Math.min(limit, Math.max(-limit, form.sample * x + form.output * (output.data[i] ?? 0)));
    const z = noise === null ? 0 : (noise.data[i] ?? 0);
    result[i] = coefficients.x0 * x0 + coefficients.sample * x + deviation * z;
  }
  return float32(sample.dims, result);
}
