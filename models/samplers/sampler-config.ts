import { z } from 'zod';
import { NibbleflowError } from '../../contracts/errors.js';

/**
 * The keys of a diffusers scheduler_config.json that more than one sampler reads. Unknown keys are ignored, as diffusers
 * does; keys that would change the numbers in a way a sampler cannot follow are refused by `refuse`.
 */
export const noiseConfigShape = {
  num_train_timesteps: z.number().int().min(1).max(1_000_000).default(1000),
  beta_start: z.number().default(0.0001),
  beta_end: z.number().default(0.02),
  beta_schedule: z.enum(['linear', 'scaled_linear', 'squaredcos_cap_v2', 'sigmoid']).default('linear'),
  trained_betas: z.array(z.number()).nullish(),
  rescale_betas_zero_snr: z.boolean().nullish(),
} as const;

export const predictionTypeSchema = z.enum(['epsilon', 'v_prediction', 'sample']).default('epsilon');
export const timestepSpacingSchema = z.enum(['leading', 'trailing', 'linspace']);

/** Keys of DDIM and DDPM that say what happens to the predicted x₀. */
export const clippingShape = {
  clip_sample: z.boolean().default(true),
  clip_sample_range: z.number().positive().default(1),
  thresholding: z.boolean().nullish(),
} as const;

/** Where errors about a sampler's settings point. */
export const SCHEDULER_CONFIG_PATH = 'scheduler/scheduler_config.json';

/**
 * Validates a scheduler config, filling diffusers' defaults.
 * @throws NibbleflowError InvalidModel naming the class and every wrong key
 */
export function parseSamplerConfig<S extends z.ZodType>(schema: S, config: unknown, className: string): z.output<S> {
  const parsed = schema.safeParse(config);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map((issue) => `${issue.path.join('.') || 'the file'}: ${issue.message}`);
  throw new NibbleflowError('InvalidModel', `the settings of ${className} cannot be used: ${problems.join('; ')}`, {
    where: SCHEDULER_CONFIG_PATH,
    fix: 'Save the scheduler again with diffusers, or correct these keys.',
  });
}

/**
 * Refuses settings that are switched on but not supported.
 * @param unsupported setting text by whether it is switched on
 * @throws NibbleflowError InvalidModel
 */
export function refuse(className: string, unsupported: Readonly<Record<string, boolean>>): void {
  const found = Object.keys(unsupported).filter((setting) => unsupported[setting]);
  if (found.length === 0) return;
  throw new NibbleflowError('InvalidModel', `${className} with ${found.join(', ')} is not supported`, {
    where: SCHEDULER_CONFIG_PATH,
    fix: 'Switch it off, or choose another sampler.',
  });
}

/**
 * @throws NibbleflowError InvalidRecipe when the model has no such number of steps
 */
export function checkSteps(steps: number, trainTimesteps: number): void {
  if (Number.isInteger(steps) && steps >= 1 && steps <= trainTimesteps) return;
  throw new NibbleflowError(
    'InvalidRecipe',
    `${steps} sampler steps are impossible for a model trained on ${trainTimesteps} timesteps`,
    {
      where: 'sampling.steps',
      fix: `Choose a whole number from 1 to ${trainTimesteps}.`,
    },
  );
}
