import type { ActivationDrift, LayerTimestepErrors } from './report/report-data.js';

/** A candidate's denoiser beside the float one on calls of float trajectories. JSON of the `comparison` artifact. */
export interface DenoiserComparison {
  readonly schemaVersion: 1;
  /** Calls behind `denoiserRelativeMse`. */
  readonly calls: number;
  /** Σ(y − ŷ)² / Σy² of the output. */
  readonly denoiserRelativeMse: number;
  /** The same of each layer's output, network against network on equal inputs. */
  readonly layers: readonly { readonly name: string; readonly error: number }[];
  readonly layerTimesteps: LayerTimestepErrors;
  /** Distance of the activations' histograms; null when the networks share no layer. */
  readonly drift: ActivationDrift | null;
  /** What ran: the shipped file, or its arithmetic in float operators. */
  readonly arithmetic: 'shipped' | 'shipped-in-float';
}
