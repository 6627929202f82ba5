import type { Float32Tensor } from '../../models/tensors/tensor.js';
import { ErrorEnergy } from './error-energy.js';
import { relativeMseOf } from './relative-mse.js';

/** SQNR of identical latents, and the largest one shown: above the ~140 dB that float32 rounding leaves. */
export const SQNR_CAP_DB = 200;

/** Signal to quantization-noise ratio 10·log10(Σx² / Σ(x − x̂)²) in dB, at most SQNR_CAP_DB. */
export function sqnrDbOf(energy: ErrorEnergy): number {
  const relative = relativeMseOf(energy);
  return relative === 0 ? SQNR_CAP_DB : Math.min(SQNR_CAP_DB, -10 * Math.log10(relative));
}

/** SQNR in dB over all elements of equally shaped latents. */
export function latentSqnrDb(reference: Float32Tensor, candidate: Float32Tensor): number {
  return sqnrDbOf(new ErrorEnergy().add(reference, candidate));
}
