import type { Protocol } from '../../contracts/protocol.js';
import type { LayerRole, Recipe } from '../../contracts/recipe.js';
import type { Score } from '../../contracts/score.js';
import type { Device } from '../../models/executor.js';

/**
 * Everything the report, the model card and the score table can show. Plain JSON values. Optional parts may be absent; their
 * sections are then left out. A number that was not measured is null and shown as a dash.
 */
export interface ReportData {
  /** What the run did; default `quantization`. */
  readonly kind?: 'quantization' | 'evaluation';
  /** Name of the pipeline, e.g. `emoji-t2i`. */
  readonly pipeline: string;
  /** Short name of the scheme for headings, e.g. `W4A4`; of an evaluated folder that does not say: `candidate`. */
  readonly scheme: string;
  /** The evaluations of a quantization, side by side; an evaluation has no columns here and `scoreList` instead. */
  readonly scores: ScoreTableData;
  /** The scores of the shipped or evaluated pipeline: what scores.json holds. */
  readonly scoreList?: readonly Score[];
  /** What was compared: names, digests, the reference and its provenance, for an evaluation. */
  readonly subjects?: readonly Fact[];
  /** The protocol with every default filled in, and its digest. */
  readonly protocol?: { readonly settings: Protocol; readonly digest: string };
  readonly compute: { readonly device: Device; readonly threads: number };
  readonly size?: SizeData;
  readonly coverage?: CoverageData;
  /** What users of the model should know about how it was quantized, in sentences. */
  readonly notices?: readonly string[];
  readonly samples?: SampleSheet;
  /** Latent SQNR of each timestep, one series per column of the scores. */
  readonly timestepSqnr?: readonly TimestepSeries[];
  /** Relative distance of the latents from the float trajectory at each timestep, ‖x̂ − x‖ / ‖x‖. */
  readonly trajectoryError?: readonly TrajectorySeries[];
  /** Same-seed pictures that are furthest from and closest to the float ones. */
  readonly extremes?: PromptExtremes;
  readonly latency?: LatencyData;
  /** How far the network's own activations drifted: distance of their histograms, float against candidate. */
  readonly drift?: ActivationDrift;
  readonly layers?: readonly LayerRow[];
  readonly layerTimesteps?: LayerTimestepErrors;
  readonly sensitivity?: SensitivityData;
  readonly finetuning?: FinetuningData;
  readonly stages?: readonly StageRow[];
  readonly environment?: readonly Fact[];
  /** The resolved recipe, every default filled in. */
  readonly recipe?: Recipe;
  readonly run?: RunLink;
}

/** Which evaluation a number belongs to: float with other seeds, quantized only, quantized and finetuned. */
export type ScoreRole = 'floor' | 'before' | 'after';

export interface Interval {
  readonly low: number;
  readonly high: number;
}

/** One evaluation against the float pictures of the same prompts and seeds. */
export interface ScoreColumn {
  readonly role: ScoreRole;
  readonly label: string;
  /** Number of pictures. */
  readonly samples: number;
  /** Mean same-seed PSNR, its 95 % interval and the 10th percentile over pictures. */
  readonly psnrDb: number | null;
  readonly psnrInterval?: Interval | null;
  readonly psnrP10Db?: number | null;
  readonly ssim: number | null;
  readonly latentSqnrDb: number | null;
  readonly frechetToFloat: number | null;
  readonly frechetToReference: number | null;
  /** Σ(y − ŷ)² / Σy² of the denoiser on float trajectories; null for the noise floor. */
  readonly denoiserRelativeMse: number | null;
}

export interface ScoreTableData {
  readonly columns: readonly ScoreColumn[];
  /** `frechet[<extractor>@<sha256:8>]`. */
  readonly frechetName?: string;
  /** Pictures behind the reference features. */
  readonly referenceCount?: number | null;
  /** Distance of the float pictures themselves to the reference. */
  readonly floatToReference?: number | null;
  readonly paired?: PairedDifference | null;
}

/** Finetuned minus unfinetuned, picture by picture. */
export interface PairedDifference {
  readonly psnrDb: Interval & { readonly mean: number };
  readonly n: number;
}

export interface SizeData {
  /** Bytes of the denoiser's files before and after. */
  readonly floatBytes: number;
  readonly quantizedBytes: number;
  /** Where the quantized bytes are: weights, scales, tables, graph … */
  readonly parts?: readonly { readonly label: string; readonly bytes: number }[];
}

export interface CoverageData {
  /** Shares 0…1 whose weight and input both have the recipe's low bits. */
  readonly layers: number;
  readonly parameters: number;
  readonly macs: number;
  /** Absolute numbers by bit pair, e.g. `w4a4`, `w8a8`, `a8a8`, `float`. */
  readonly byBits: readonly {
    readonly bits: string;
    readonly layers: number;
    readonly parameters: number;
    readonly macs: number;
  }[];
  /** Float side branches beside quantized layers: multiply-adds on top of all of these, as a share of them; bytes in the file. */
  readonly branches?: { readonly layers: number; readonly macs: number; readonly bytes: number };
}

/** The sample grid as a PNG; sizes and cells as `composeGrid` gave them. */
export interface SampleSheet {
  readonly pngDataUri: string;
  readonly width: number;
  readonly height: number;
  readonly cells: readonly SampleCell[];
}

/** One float | quantized | difference triple: where its pictures and its caption are, in pixels of the grid. */
export interface SampleCell {
  readonly prompt: string;
  readonly x: number;
  /** Top of the pictures. */
  readonly y: number;
  /** Of the whole triple. */
  readonly width: number;
  /** Of the pictures; the caption is below. */
  readonly height: number;
  /** Shown before the prompt, e.g. `21.4 dB`. */
  readonly note?: string;
}

/** The k pictures with the largest and the k with the smallest distance to the float picture of the same seed. */
export interface PromptExtremes {
  /** What they are ordered by, e.g. `PSNR` or `LPIPS-style distance`. */
  readonly metric: string;
  readonly unit: string;
  readonly better: 'higher' | 'lower';
  /** Pictures that were ordered. */
  readonly n: number;
  readonly worst: SampleSheet;
  readonly best: SampleSheet;
}

export interface TimestepSeries {
  readonly role: ScoreRole;
  readonly label: string;
  readonly points: readonly { readonly timestep: number; readonly sqnrDb: number }[];
}

export interface TrajectorySeries {
  readonly role: ScoreRole;
  readonly label: string;
  readonly points: readonly { readonly timestep: number; readonly error: number }[];
}

/** Milliseconds of one call of the denoiser, as it was measured; never a claim about arithmetic that did not run. */
export interface LatencyData {
  readonly rows: readonly LatencyRow[];
  /** Rows of the batch of each call. */
  readonly batch: number;
}

export interface LatencyRow {
  /** e.g. `float`, `W4A4 as shipped`. */
  readonly label: string;
  /** Median of the calls, and the fastest and slowest of them. */
  readonly medianMs: number;
  readonly fastestMs: number;
  readonly slowestMs: number;
  readonly calls: number;
  /** Which kernels ran, e.g. `float32 CPU kernels`. */
  readonly kernels: string;
  readonly device: Device;
  readonly threads: number;
  /** The low-bit arithmetic ran as float operators: its time says nothing about low-bit kernels. */
  readonly simulated: boolean;
}

/** `errors` hold the distances [layer][timestep]. */
export interface ActivationDrift extends LayerTimestepErrors {
  /** What the distance is, in a sentence: its definition, bins, calls. */
  readonly note: string;
}

export interface LayerRow {
  readonly name: string;
  readonly role: LayerRole;
  readonly op: string;
  /** null when skipped, or for a product of two activations. */
  readonly weightBits: number | null;
  readonly activationBits: number | null;
  /** How, e.g. `group 64 mse · dynamic 64`. */
  readonly scheme: string;
  readonly parameters: number;
  readonly macs: number;
  /** Of the layer's weight in float and as shipped, with scales; absent when not known. */
  readonly floatBytes?: number;
  readonly bytes?: number;
  /** Σ(y − ŷ)² / Σy² of the layer's output; null when not measured. */
  readonly error: number | null;
  /** Why it stayed float; null when quantized. */
  readonly skipped: string | null;
  /** Why it has these bits, when a search chose them. */
  readonly reason?: string;
}

/** What layers do to the network when each is quantized alone. */
export interface SensitivityData {
  /** What the layers' own errors say about the run, in one line. */
  readonly gate: string;
  /** Scanned bits, increasing; the rows are at the lowest. Empty: only the own errors were measured. */
  readonly bits: readonly number[];
  /** Calls of the denoiser behind every number. */
  readonly items: number;
  readonly layers: readonly LayerSensitivityRow[];
  /** How bits were chosen, in one line; null when they were not. */
  readonly choice: string | null;
}

export interface LayerSensitivityRow {
  readonly name: string;
  readonly macsShare: number;
  /** Error of the network's output with only the weights, or only the inputs, at the lowest scanned bits. */
  readonly weights: number | null;
  readonly activations: number;
  /** Relative L2 error of the layer's own output at the planned bits. */
  readonly ownError: number;
  /** The bits that it got, e.g. `4 × 4`. */
  readonly bits: string;
  readonly reason: string;
}

export interface LayerTimestepErrors {
  readonly layers: readonly string[];
  readonly timesteps: readonly number[];
  /** Relative errors [layer][timestep]. */
  readonly errors: readonly (readonly number[])[];
}

export interface FinetuningData {
  /** Relative MSE of the network output on held-back prompts and on a fixed sample of the training prompts. */
  readonly validation: { readonly before: number; readonly after: number };
  readonly training: { readonly before: number; readonly after: number };
  readonly curve: readonly {
    readonly step: number;
    readonly training: number | null;
    readonly validation: number | null;
  }[];
  /** First step of each phase. */
  readonly phases?: readonly { readonly name: string; readonly step: number }[];
  /** Step whose parameters were shipped. */
  readonly bestStep?: number;
}

export interface StageRow {
  readonly name: string;
  /** Of work; 0 when reused. */
  readonly seconds: number;
  readonly reused: boolean;
  readonly summary?: string;
}

export interface Fact {
  readonly label: string;
  readonly value: string;
}

export interface RunLink {
  readonly workflowId: string;
  readonly runId?: string;
  /** Page of the run in the Temporal UI; http or https. */
  readonly url?: string;
  /** When it ended, as it should be printed. */
  readonly finished?: string;
}
