import { z } from 'zod';
import { type Float32Tensor, float32 } from '../tensors/tensor.js';
import { discreteDiffusion, discreteDiffusionShape, type PredictionForms } from './discrete-diffusion.js';
import { at, checkSameDims } from './linear-combination.js';
import type { Sampler, SamplerOptions } from './sampler.js';
import { parseSamplerConfig, refuse } from './sampler-config.js';

const configSchema = z.object({ ...discreteDiffusionShape, set_alpha_to_one: z.boolean().default(true) });

/**
 * Denoising diffusion implicit models (Song, Meng, Ermon 2020), formulas (12) and (16), read as diffusers' DDIMScheduler:
 * x' = √ᾱ' x₀ + √(1 − ᾱ' − σ²) ε + σ z, σ = η √((1−ᾱ')/(1−ᾱ)) √(1 − ᾱ/ᾱ'), with x₀ clipped when clip_sample is set (ε is
 * not recomputed). The previous timestep is t − ⌊T/steps⌋ whatever the spacing; below 0, ᾱ' is 1 or ᾱ_0 (set_alpha_to_one).
 * @throws NibbleflowError InvalidModel for settings it cannot follow, InvalidRecipe for an impossible number of steps
 */
export function createDdim(rawConfig: unknown, steps: number, options: SamplerOptions = {}): Sampler {
  const config = parseSamplerConfig(configSchema, rawConfig, 'DDIMScheduler');
  refuse('DDIMScheduler', { 'thresholding: true': config.thresholding === true });
  const { timesteps, alphaBars, limit, formsAt } = discreteDiffusion(config, steps);
  const eta = options.eta ?? 0;
  const finalAlphaBar = config.set_alpha_to_one ? 1 : at(alphaBars, 0);
  const stride = Math.floor(config.num_train_timesteps / steps);

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
      return ddimUpdate(output, sample, formsAt(timestep), {
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
