import type { AttentionPart, LayerRole } from '../contracts/recipe.js';
import type { LogGridName } from './formats/log-grid.js';

/**
 * What will happen to each layer of a denoiser. Built by plan-layers.ts from the transformed graph and the recipe; read by
 * observation, rounding, finetuning and conversion.
 */
export interface QuantizationPlan {
  readonly schemaVersion: 1;
  readonly layers: readonly PlannedLayer[];
  readonly coverage: Coverage;
  /** Bytes of the float denoiser file and the estimate for the quantized one. */
  readonly floatBytes: number;
  readonly estimatedBytes: number;
  /** The converted denoiser takes inputs of the planned size only (and any batch); absent: of every size. */
  readonly fixesSize?: true;
  /** What a user should know about this plan, in sentences; absent: nothing. */
  readonly notices?: readonly string[];
}

export interface PlannedLayer {
  /** Stable and readable: the module path of the node, e.g. `down_blocks.0.resnets.0.conv1`; unique. */
  readonly name: string;
  /** `name` of its node in the transformed graph. */
  readonly node: string;
  readonly opType: 'Conv' | 'MatMul' | 'Gemm';
  readonly role: LayerRole;
  /** What an attention projection computes; absent for every other role. */
  readonly attentionParts?: readonly AttentionPart[];
  /** The value the layer computes (before a separate bias Add, if any). */
  readonly output: string;
  /** null for matrix products of two activations. */
  readonly weight: PlannedWeight | null;
  /** Quantized inputs: one for a layer with a weight, two for q·kᵀ and softmax·V. Empty when skipped. */
  readonly inputs: readonly PlannedInput[];
  /** Why it stays float; null when it is quantized. */
  readonly skipped: string | null;
  /** Why it has these bits, when a search chose them. */
  readonly reason?: string;
  /** Weight elements (bias not counted). */
  readonly parameters: number;
  /** Multiply-adds per sample (batch 1). */
  readonly macs: number;
}

export interface PlannedWeight {
  /** Initializer in the transformed graph. */
  readonly initializer: string;
  readonly dims: readonly number[];
  /** Axis of output channels and axis of input channels of `dims`. Conv: 0, 1. MatMul [K, N]: 1, 0. Gemm transB: 0, 1. */
  readonly outputAxis: number;
  readonly inputAxis: number;
  /** Bias initializer read by the same node (or by the Add right behind a MatMul), null when there is none. */
  readonly bias: string | null;
  readonly scheme: WeightScheme;
}

export interface WeightScheme {
  /** Signed symmetric codes −2^(b−1) … 2^(b−1)−1. */
  readonly bits: number;
  /** Input elements along `inputAxis` per scale; null: one scale per output channel. Divides the axis. */
  readonly groupSize: number | null;
  readonly range: 'absmax' | 'mse';
}

export interface PlannedInput {
  /** Value name in the transformed graph. Layers that read the same value with the same scheme share one quantizer. */
  readonly value: string;
  /** Position among the node's inputs. */
  readonly index: number;
  /** Axis of the channels that a dynamic group spans: 1 for Conv, the contracted axis for products (last, or last-but-one). */
  readonly channelAxis: number;
  /** What axis 0 of the value counts: samples of the batch, entries of the timestep input, or something else (heads × batch). */
  readonly rows: 'batch' | 'timestep' | 'other';
  readonly scheme: ActivationScheme;
}

export interface ActivationScheme {
  readonly bits: number;
  /** Signed codes without a zero point; otherwise unsigned codes with one. */
  readonly symmetric: boolean;
  readonly ranges: 'static' | 'timestep' | 'dynamic';
  /** Dynamic only: channels that share a range, null = all of them. Divides the channel axis. */
  readonly groupSize: number | null;
  readonly range: 'minmax' | 'mse';
  /** Dynamic groups: the channel at every place before the axis is split into groups; absent: as they lie. */
  readonly channelOrder?: readonly number[];
  /** Stored ranges with an entry per channel, pixel or token; absent: one range for the whole value. */
  readonly spread?: RangeSpread;
  /** Codes of −log2(p / d) or −2 log2(p / d) with d the largest p of the row; absent: equal steps. Ranges are then dynamic. */
  readonly grid?: LogGridName;
  /** Axis whose first entry, the start token of a text, stays float; absent: none. */
  readonly floatFirst?: number;
}

/** Stored ranges with several entries for one value. */
export interface RangeSpread {
  /** What an entry may count. Of two, rounding takes the one along which ranges differ more. */
  readonly candidates: readonly SpreadAxes[];
  /** Entries share at most this many ranges, by k-means; null: a range each. */
  readonly groups: number | null;
}

export interface SpreadAxes {
  readonly kind: 'channel' | 'pixel';
  /** Neighbouring axes of the value, never axis 0. Their elements, row-major, are the entries. */
  readonly axes: readonly number[];
  /** How many there are in a run of the planned size. */
  readonly entries: number;
}

/** Shares 0…1 of layers, weight elements and multiply-adds whose weight and input both have the recipe's low bits. */
export interface Coverage {
  readonly layers: number;
  readonly parameters: number;
  readonly macs: number;
  /** Multiply-adds per bit pair `w4a4`, `w8a8`, `a8a8` (two activations), `float`: shares of all of them. */
  readonly macsByBits: Readonly<Record<string, number>>;
  /** Most multiply-adds that float side branches may add, as a share of all; absent: there will be none. */
  readonly branchBudget?: number;
}
