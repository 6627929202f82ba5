import type { Graph } from '../../models/onnx/graph.js';
import type { Shapes } from '../../models/onnx/shape-inference.js';
import { float32 } from '../../models/tensors/tensor.js';
import { type ActivationQuantizer, activationQuantizers } from '../activation-quantizers.js';
import type { QuantizationPlan, WeightScheme } from '../layer-plan.js';
import { dequantizeCodes, roundToCodes } from '../rounding/round-nearest.js';
import { weightFromMatrix, weightMatrix } from '../rounding/weight-matrix.js';
import { weightScales } from '../rounding/weight-scales.js';
import { type ChannelAffine, channelAffine } from './channel-affine.js';
import { type InputSite, inputSites, insertScaling, scaleInputs, weightOf } from './input-sites.js';

/**
 * Per-channel smoothing (SmoothQuant, Xiao et al., ICML 2023, eq. 4; SVDQuant, Li et al., ICLR 2025, §4.1):
 *
 *   W x = (W diag λ) (x / λ),   λ_c = rms(x_c)^α / |W_c|^β
 *
 * takes outlying channels out of the activations and puts them into the weights. 1/λ goes into γ and β of the norm that
 * computes x, when nothing else reads it; otherwise into a Mul of its own in front of the layers. α and β are chosen for each
 * value from a grid by the error of the layers' outputs, of inputs and weights together, with λ = 1 among the candidates.
 */
export const SMOOTHING_GRID: readonly (readonly [alpha: number, beta: number])[] = [
  [0, 0],
  [0.25, 0],
  [0.5, 0],
  [0.75, 0],
  [0.25, 0.25],
  [0.5, 0.25],
  [0.75, 0.25],
  [0.5, 0.5],
];

/** λ of a channel stays within these bounds around the geometric mean: a dead channel must not get an endless factor. */
const LARGEST_FACTOR = 64;

/** A value whose channels can be scaled without changing the float result. */
export interface SmoothingSite {
  readonly site: InputSite;
  readonly affine: ChannelAffine;
  readonly quantizer: ActivationQuantizer;
  readonly schemes: readonly WeightScheme[];
}

/** Gives every value that layers with weights read a constant per channel to scale it by; counts the new nodes. */
export function prepareSmoothing(graph: Graph, shapes: Shapes): number {
  let count = 0;
  for (const site of inputSites(graph, shapes)) {
    if (site.isOwn && channelAffine(graph, site.value, site.channelAxis, site.rank) !== undefined) continue;
    insertScaling(graph, site);
    count += 1;
  }
  return count;
}

/** The values of a prepared graph whose quantizers a plan has. */
export function smoothingSites(graph: Graph, shapes: Shapes, plan: QuantizationPlan): SmoothingSite[] {
  const quantizers = new Map(activationQuantizers(plan).map((quantizer) => [quantizer.value, quantizer]));
  const schemes = new Map(plan.layers.map(({ node, weight }) => [node, weight?.scheme]));
  return inputSites(graph, shapes).flatMap((site) => {
    const quantizer = quantizers.get(site.value);
    const affine = channelAffine(graph, site.value, site.channelAxis, site.rank);
    if (quantizer === undefined || affine === undefined || !site.isOwn) return [];
    return [{ site, affine, quantizer, schemes: site.layers.flatMap(({ node }) => schemes.get(node.name) ?? []) }];
  });
}

/** λ of every pair of the grid, for channels of these mean squares. */
export function smoothingCandidates(graph: Graph, { site }: SmoothingSite, meanSquares: Float64Array): Float64Array[] {
  const columns = columnEnergies(graph, site);
  return SMOOTHING_GRID.map(([alpha, beta]) => {
    const logs = meanSquares.map((square, channel) => {
      const column = columns[channel] as number;
      return 0.5 * (alpha * Math.log(square + Number.MIN_VALUE) - beta * Math.log(column + Number.MIN_VALUE));
    });
    const mean = logs.reduce((sum, value) => sum + value, 0) / logs.length;
    const bound = Math.log(LARGEST_FACTOR);
    return logs.map((value) => Math.exp(Math.max(-bound, Math.min(bound, value - mean))));
  });
}

/**
 * Σ over the layers of E|W' (Q(x') − x')|² + E|(Q(W') − W') x'|², channels taken for independent.
 * @param errors mean((λ (Q(x/λ) − x/λ))²) per channel, as measured with these factors
 */
export function smoothingCost(
  graph: Graph,
  { site, schemes }: SmoothingSite,
  factors: Float64Array,
  measured: { readonly meanSquares: Float64Array; readonly errors: Float64Array },
): number {
  const columns = columnEnergies(graph, site);
  let cost = measured.errors.reduce((sum, error, channel) => sum + error * (columns[channel] as number), 0);
  for (const [index, layer] of site.layers.entries()) {
    const scheme = schemes[index];
    if (scheme === undefined) continue;
    const matrix = weightMatrix(weightOf(graph, layer), layer.weight);
    const data = matrix.data.map((value, at) => value * (factors[(at % matrix.cols) % factors.length] as number));
    const scaled = weightFromMatrix({ ...matrix, data }, layer.weight);
    const axes = { ...layer.weight, scheme: { ...scheme, range: 'absmax' as const } };
    const scales = weightScales(scaled, axes);
    const rounded = dequantizeCodes(roundToCodes(scaled, scales, axes), scaled.dims, scales, axes);
    const difference = float32(
      scaled.dims,
      rounded.data.map((value, at) => value - (scaled.data[at] as number)),
    );
    const errors = energiesByChannel(weightMatrix(difference, layer.weight), factors.length);
    cost += errors.reduce((sum, error, channel) => {
      const factor = factors[channel] as number;
      return sum + (error * (measured.meanSquares[channel] as number)) / (factor * factor);
    }, 0);
  }
  return cost;
}

/** Puts 1/λ into the constants of the value and λ into the weights, in place. */
export function applySmoothing(graph: Graph, { site, affine }: SmoothingSite, factors: Float64Array): void {
  const divided = (values: Float64Array): Float64Array =>
    values.map((value, channel) => value / (factors[channel] as number));
  affine.set(divided(affine.gamma), affine.beta === null ? null : divided(affine.beta));
  for (const layer of site.layers) scaleInputs(graph, layer, factors);
}

/** Σ over outputs, taps and layers of W², per input channel. */
function columnEnergies(graph: Graph, { layers, channels }: InputSite): Float64Array {
  const sums = new Float64Array(channels);
  for (const layer of layers) {
    const own = energiesByChannel(weightMatrix(weightOf(graph, layer), layer.weight), channels);
    for (let channel = 0; channel < channels; channel += 1) {
      sums[channel] = (sums[channel] as number) + (own[channel] as number);
    }
  }
  return sums;
}

function energiesByChannel({ cols, data }: { cols: number; data: Float64Array }, channels: number): Float64Array {
  const sums = new Float64Array(channels);
  for (let at = 0; at < data.length; at += 1) {
    const channel = (at % cols) % channels;
    sums[channel] = (sums[channel] as number) + (data[at] as number) ** 2;
  }
  return sums;
}
