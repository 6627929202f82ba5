import type { ActivationDrift, LayerTimestepErrors } from './report/report-data.js';

/** A candidate's denoiser beside the float one on calls of float trajectories. JSON of the `comparison` artifact. */
export interface DenoiserComparison {
  readonly schemaVersion: 1;
  /** Calls behind `denoiserRelativeMse`. */
  readonly calls: number;
  /** Σ(y − ŷ)² / Σy² of the output. */
  readonly denoiserRelativeMse: number;
  /** Σy² and Σ(y − ŷ)² of each picture that has calls, ascending by `image`. */
  readonly pictures: readonly { readonly image: number; readonly signal: number; readonly noise: number }[];
  /** The same of each layer's output, network against network on equal inputs. */
  readonly layers: readonly { readonly name: string; readonly error: number }[];
  readonly layerTimesteps: LayerTimestepErrors;
  /** Distance of the activations' histograms; null when the networks share no layer. */
  readonly drift: ActivationDrift | null;
  /** What ran: the shipped file, or its arithmetic in float operators. */
  readonly arithmetic: 'shipped' | 'shipped-in-float';
}
