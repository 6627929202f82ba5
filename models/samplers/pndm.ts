import { z } from 'zod';
import type { Float32Tensor } from '../tensors/tensor.js';
import { at, linearCombination } from './linear-combination.js';
import { alphasCumprod } from './noise-schedule.js';
import type { Sampler } from './sampler.js';
import { checkSteps, noiseConfigShape, parseSamplerConfig, refuse, timestepSpacingSchema } from './sampler-config.js';
import { spacedTimesteps } from './timestep-spacing.js';

const configSchema = z.object({
  ...noiseConfigShape,
  prediction_type: z.enum(['epsilon', 'v_prediction']).default('epsilon'),
  set_alpha_to_one: z.boolean().default(false),
  skip_prk_steps: z.boolean().default(false),
  steps_offset: z.number().int().default(0),
  timestep_spacing: timestepSpacingSchema.default('leading'),
});

/** Adams–Bashforth weights of the last outputs, newest first, by how many there are. */
const MULTISTEP_WEIGHTS: readonly (readonly number[])[] = [
  [1],
  [3 / 2, -1 / 2],
  [23 / 12, -16 / 12, 5 / 12],
  [55 / 24, -59 / 24, 37 / 24, -9 / 24],
];

/**
 * Pseudo linear multistep sampling (PLMS): "Pseudo numerical methods for diffusion models on manifolds" (Liu et al. 2022)
 * without its Runge–Kutta start, read as diffusers' PNDMScheduler with skip_prk_steps. It visits the second timestep twice:
 * step 1 takes the step again from the start with the mean of both outputs (Heun), so there are `steps` + 1 steps.
 * @throws NibbleflowError InvalidModel for settings it cannot follow, InvalidRecipe for an impossible number of steps
 */
export function createPndm(rawConfig: unknown, steps: number): Sampler {
  const config = parseSamplerConfig(configSchema, rawConfig, 'PNDMScheduler');
  refuse('PNDMScheduler', {
    'skip_prk_steps: false': !config.skip_prk_steps,
    'rescale_betas_zero_snr: true': config.rescale_betas_zero_snr === true,
  });
  checkSteps(steps, config.num_train_timesteps);
  const alphaBars = alphasCumprod(config);
  const finalAlphaBar = config.set_alpha_to_one ? 1 : at(alphaBars, 0);
  const stride = Math.floor(config.num_train_timesteps / steps);
  const plain = spacedTimesteps(config.timestep_spacing, steps, config.num_train_timesteps, {
    stepsOffset: config.steps_offset,
  });
  const timesteps = [...plain.slice(0, 2), ...plain.slice(1)];
  let outputs: Float32Tensor[] = [];
  let startSample: Float32Tensor | null = null;
  let expectedStep = 0;

  const transfer = (sample: Float32Tensor, from: number, to: number, output: Float32Tensor): Float32Tensor =>
    pndmTransfer(sample, output, {
      alphaBar: at(alphaBars, from),
      previousAlphaBar: to >= 0 ? at(alphaBars, to) : finalAlphaBar,
      velocity: config.prediction_type === 'v_prediction',
    });

  return {
    timesteps,
    initNoiseSigma: 1,
    scaleInput: (sample) => sample,
    step(output, stepIndex, sample) {
      if (stepIndex === 0) {
        outputs = [];
        startSample = sample;
      } else if (stepIndex !== expectedStep) {
        throw new RangeError(`PNDM keeps a history: expected step ${expectedStep}, got ${stepIndex}`);
      }
      expectedStep = stepIndex + 1;
      const timestep = at(timesteps, stepIndex);
      if (stepIndex === 1 && startSample !== null) {
        const mean = linearCombination([
          [1 / 2, output],
          [1 / 2, outputs[0] ?? output],
        ]);
        return transfer(startSample, timestep + stride, timestep, mean);
      }
      outputs = [output, ...outputs].slice(0, MULTISTEP_WEIGHTS.length);
      const weights = MULTISTEP_WEIGHTS[outputs.length - 1] ?? [];
      const blended = linearCombination(outputs.map((past, i) => [at(weights, i), past] as const));
      return transfer(sample, timestep, timestep - stride, blended);
    },
  };
}

interface TransferCoefficients {
  readonly alphaBar: number;
  readonly previousAlphaBar: number;
  readonly velocity: boolean;
}

/** Formula (9) of the PNDM paper: x' = √(ᾱ'/ᾱ) x − (ᾱ' − ᾱ) ε / (ᾱ √(1−ᾱ') + √(ᾱ (1−ᾱ) ᾱ')). */
function pndmTransfer(sample: Float32Tensor, output: Float32Tensor, of: TransferCoefficients): Float32Tensor {
  const { alphaBar, previousAlphaBar } = of;
  const denominator =
    alphaBar * Math.sqrt(1 - previousAlphaBar) + Math.sqrt(alphaBar * (1 - alphaBar) * previousAlphaBar);
  const epsilonWeight = -(previousAlphaBar - alphaBar) / denominator;
  const sampleWeight = Math.sqrt(previousAlphaBar / alphaBar);
  const fromOutput = of.velocity ? Math.sqrt(alphaBar) : 1;
  const fromSample = of.velocity ? Math.sqrt(1 - alphaBar) : 0;
  return linearCombination([
    [sampleWeight + epsilonWeight * fromSample, sample],
    [epsilonWeight * fromOutput, output],
  ]);
}
