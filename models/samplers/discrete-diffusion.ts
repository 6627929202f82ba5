import { z } from 'zod';
import { at } from './linear-combination.js';
import { alphasCumprod } from './noise-schedule.js';
import type { PredictionType } from './sampler.js';
import {
  checkSteps,
  clippingShape,
  noiseConfigShape,
  predictionTypeSchema,
  timestepSpacingSchema,
} from './sampler-config.js';
import { spacedTimesteps } from './timestep-spacing.js';

/** Keys that DDIM and DDPM share: both walk the same discrete process backwards. */
export const discreteDiffusionShape = {
  ...noiseConfigShape,
  ...clippingShape,
  prediction_type: predictionTypeSchema,
  steps_offset: z.number().int().default(0),
  timestep_spacing: timestepSpacingSchema.default('leading'),
} as const;

export type DiscreteDiffusionConfig = z.output<z.ZodObject<typeof discreteDiffusionShape>>;

/** The process as a walk of `steps` steps sees it. */
export interface DiscreteDiffusion {
  readonly timesteps: readonly number[];
  /** ᾱ of every training timestep. */
  readonly alphaBars: ArrayLike<number>;
  /** At which the predicted x₀ is clipped. */
  readonly limit: number;
  /** x₀ and ε at a timestep. */
  formsAt(timestep: number): PredictionForms;
}

/** Throws InvalidRecipe for an impossible number of steps. */
export function discreteDiffusion(config: DiscreteDiffusionConfig, steps: number): DiscreteDiffusion {
  checkSteps(steps, config.num_train_timesteps);
  const alphaBars = alphasCumprod(config);
  return {
    timesteps: spacedTimesteps(config.timestep_spacing, steps, config.num_train_timesteps, {
      stepsOffset: config.steps_offset,
    }),
    alphaBars,
    limit: config.clip_sample ? config.clip_sample_range : Number.POSITIVE_INFINITY,
    formsAt: (timestep) => predictionForms(config.prediction_type, at(alphaBars, timestep)),
  };
}

/** The predicted x₀ and ε as linear forms of x_t and the model's output. */
export interface PredictionForms {
  readonly x0: { readonly sample: number; readonly output: number };
  readonly epsilon: { readonly sample: number; readonly output: number };
}

/**
 * x₀ and ε from the model's output m at ᾱ: epsilon: ε = m, x₀ = (x − √(1−ᾱ) m)/√ᾱ; sample: x₀ = m, ε = (x − √ᾱ m)/√(1−ᾱ);
 * v: x₀ = √ᾱ x − √(1−ᾱ) m, ε = √ᾱ m + √(1−ᾱ) x ("Progressive distillation", Salimans and Ho 2022).
 */
function predictionForms(type: PredictionType, alphaBar: number): PredictionForms {
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
