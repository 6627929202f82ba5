import type { LayerTimestepErrors } from './report/report-data.js';

/** One evaluation: everything that is compared later is kept per picture. JSON of the `scores` artifact. */
export interface PipelineScores {
  readonly schemaVersion: 1;
  readonly label: string;
  readonly samples: number;
  /** Of each picture, against the float picture of the same prompt (and seed, but for the noise floor). */
  readonly psnrDb: readonly number[];
  readonly ssim: readonly number[];
  /** Over all final latents. */
  readonly latentSqnrDb: number;
  /** Of x behind the step at each timestep. */
  readonly timestepSqnr: readonly { readonly timestep: number; readonly sqnrDb: number }[];
  readonly frechet: FrechetScores;
  /** Σ(y − ŷ)² / Σy² of the denoiser's output on inputs of float trajectories; null for the noise floor. */
  readonly denoiserRelativeMse: number | null;
  /** Σ(y − ŷ)² / Σy² of each layer's output, network against network on equal inputs; null for the noise floor. */
  readonly layers: readonly { readonly name: string; readonly error: number }[] | null;
  readonly layerTimesteps: LayerTimestepErrors | null;
  /** What ran: the float model, the shipped file, or the shipped file's arithmetic in float operators. */
  readonly arithmetic: 'float' | 'shipped' | 'shipped-in-float';
}

export interface FrechetScores {
  /** `frechet[<extractor>@<sha256:8>]`. */
  readonly name: string;
  readonly toFloat: number;
  readonly toReference: number | null;
  readonly floatToReference: number | null;
  /** Pictures behind the reference features. */
  readonly referenceCount: number | null;
}
