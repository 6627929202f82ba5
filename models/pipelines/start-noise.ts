import { gaussianRows } from '../tensors/random.js';
import type { Float32Tensor } from '../tensors/tensor.js';
import type { Pipeline } from './pipeline.js';

/** Pictures per seed that keep step-noise seeds apart. */
const PICTURES_PER_SEED = 2 ** 24;

/** Unit start noise of pictures `first` … `end − 1` of a seed: picture i has its own stream, whatever the batch. [B, C, H, W] */
export function startNoise(pipeline: Pipeline, seed: number, first: number, end: number): Float32Tensor {
  return gaussianRows(seed, pictures(first, end), pipeline.denoiser.sampleDims);
}

/** Seeds of the noise that stochastic samplers add on the way, one per picture. */
export function stepNoiseSeeds(seed: number, first: number, end: number): number[] {
  return pictures(first, end).map((picture) => seed * PICTURES_PER_SEED + picture);
}

function pictures(first: number, end: number): number[] {
  return Array.from({ length: end - first }, (_, index) => first + index);
}
