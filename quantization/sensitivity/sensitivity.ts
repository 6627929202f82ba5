import type { LayerRole } from '../../contracts/recipe.js';
import type { NetworkError } from './network-error.js';

/** What single quantized layers do to the network, as the scan found it; JSON. */
export interface Sensitivity {
  readonly schemaVersion: 1;
  /** Calls of the denoiser behind every number. */
  readonly items: number;
  /** Bits that were scanned, increasing; empty when only the layers' own errors were measured. */
  readonly bits: readonly number[];
  /** Quantized layers in plan order. */
  readonly layers: readonly LayerSensitivity[];
}

export interface LayerSensitivity {
  readonly name: string;
  readonly role: LayerRole;
  /** Share of the multiply-adds of all layers with a weight; 0 for products of two activations. */
  readonly macsShare: number;
  /** The network's error with only this layer's weight quantized, by bits; empty for products of two activations. */
  readonly weights: readonly ErrorAtBits[];
  /** The network's error with only this layer's inputs quantized, by bits. */
  readonly activations: readonly ErrorAtBits[];
  /** ‖y − ŷ‖ / ‖y‖ of its output on float inputs with weight and inputs quantized at the plan's bits. */
  readonly ownError: number;
  /** The same at each scanned number of bits. */
  readonly ownErrors: readonly { readonly bits: number; readonly error: number }[];
}

export interface ErrorAtBits extends NetworkError {
  readonly bits: number;
}

/** Which of the two network errors decides. */
export type SensitivityObjective = keyof NetworkError;

/** The median of the layers' own errors; 0 when nothing is quantized. */
export function medianOwnError({ layers }: Pick<Sensitivity, 'layers'>): number {
  const sorted = layers.map(({ ownError }) => ownError).sort((a, b) => a - b);
  const upper = sorted[Math.floor(sorted.length / 2)] ?? 0;
  const lower = sorted[Math.floor((sorted.length - 1) / 2)] ?? 0;
  return (lower + upper) / 2;
}

/** The network's error at `bits`. Throws RangeError when it was not scanned. */
export function errorAt(errors: readonly ErrorAtBits[], bits: number, objective: SensitivityObjective): number {
  const found = errors.find((one) => one.bits === bits);
  if (found === undefined) throw new RangeError(`the sensitivity was not scanned at ${bits} bits`);
  return found[objective];
}
