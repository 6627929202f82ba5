import type { Float32Tensor } from '../../models/tensors/tensor.js';
import { ErrorEnergy } from './error-energy.js';

/** Σ(y − ŷ)² / Σy² of everything added; 0 without noise (even of a zero signal), Infinity for noise on a zero signal. */
export function relativeMseOf(energy: Pick<ErrorEnergy, 'signal' | 'noise'>): number {
  return energy.noise === 0 ? 0 : energy.noise / energy.signal;
}

/** Σ(y − ŷ)² / Σy² over all elements of equally shaped tensors. */
export function relativeMse(reference: Float32Tensor, candidate: Float32Tensor): number {
  return relativeMseOf(new ErrorEnergy().add(reference, candidate));
}
