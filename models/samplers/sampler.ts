import type { Float32Tensor } from '../tensors/tensor.js';

/**
 * A sampler walks from noise to a picture: it fixes the timesteps and turns the denoiser's output at x_t into x at the next
 * timestep. One object serves one walk at a time: multistep samplers keep outputs of earlier steps, and step 0 forgets them.
 *
 * Arithmetic of every sampler: tensors are float32, scalar coefficients are doubles computed from the float32 tables that
 * diffusers holds; each new element is computed in doubles and rounded once. Two walks with equal inputs are bit-identical.
 */
export interface Sampler {
  /** The denoiser's t at each step, in order; whole numbers unless the sampler is continuous in time. */
  readonly timesteps: readonly number[];
  /** Standard deviation that the unit start noise is multiplied by. */
  readonly initNoiseSigma: number;
  /** x_t as the denoiser wants to see it; the same tensor where no scaling is needed. */
  scaleInput(sample: Float32Tensor, stepIndex: number): Float32Tensor;
  /**
   * x at the next timestep.
   * @param output the denoiser's (guided) output, dims of `sample`
   * @param stepIndex 0…timesteps.length − 1, in order
   * @param noise called once when this step needs fresh unit noise of the dims of `sample`
   * @throws RangeError when steps come out of order or dims differ
   */
  step(output: Float32Tensor, stepIndex: number, sample: Float32Tensor, noise: () => Float32Tensor): Float32Tensor;
}

export interface SamplerOptions {
  /** DDIM: 0 is deterministic, 1 adds as much noise as DDPM; formula (16) of the DDIM paper. Default 0. */
  readonly eta?: number;
}

/** What the denoiser's output means. */
export type PredictionType = 'epsilon' | 'v_prediction' | 'sample';
