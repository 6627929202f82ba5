import type { Recipe } from '../../contracts/recipe.js';
import type { Breathe } from '../../models/linalg/breathe.js';
import type { Matrix } from '../../models/linalg/matrix.js';
import { activationQuantizers } from '../activation-quantizers.js';
import type { LayerStatistics } from '../calibration/layer-statistics.js';
import type { QuantizationPlan } from '../layer-plan.js';
import type { LowRankBranch, QuantizedParameters, WeightParameters } from '../quantized-parameters.js';
import { allotRanks } from './allot-ranks.js';
import { type BranchableLayer, macsPerRank } from './branchable-layers.js';
import { type BranchSpectrum, branchSpectrum, cutBranch } from './low-rank-branches.js';
import { tapsOf } from './weight-matrix.js';
import { weightScales } from './weight-scales.js';

export type LowRankSettings = Recipe['lowRank'];

export interface AddBranchesOptions {
  readonly plan: QuantizationPlan;
  readonly parameters: QuantizedParameters;
  readonly statistics: LayerStatistics;
  readonly settings: LowRankSettings;
  /** Awaited in the middle of a layer, too. */
  readonly breathe?: Breathe;
  /** Called after every layer. */
  readonly onLayer?: (done: number, total: number) => Promise<void>;
}

/**
 * Gives the layers float side branches under `settings.macsBudget` of the denoiser's multiply-adds, and puts what is left of
 * their weights, with new scales, in the place of the weights.
 */
export async function addBranches(
  layers: readonly BranchableLayer[],
  options: AddBranchesOptions,
): Promise<QuantizedParameters> {
  const { plan, parameters, settings } = options;
  const spectra: BranchSpectrum[] = [];
  const gains: Float64Array[] = [];
  const quantizerOf = quantizersByLayer(plan);
  for (const layer of layers) {
    const found = await spectrumOf(layer, quantizerOf.get(layer.name) ?? '', options);
    spectra.push(found.spectrum);
    gains.push(found.gains);
    await options.onLayer?.(spectra.length, 2 * layers.length);
  }
  const total = plan.layers.reduce((sum, { macs }) => sum + macs, 0);
  const candidates = layers.map((layer, index) => ({
    gains: gains[index] as Float64Array,
    macsPerRank: macsPerRank(layer),
    maxRank: Math.floor((settings.layerShare * layer.macs) / macsPerRank(layer)),
  }));
  const ranks = allotRanks(candidates, settings.macsBudget * total);
  const weights = new Map<string, WeightParameters>(parameters.weights);
  const branches = new Map<string, LowRankBranch>(parameters.branches);
  for (const [index, layer] of layers.entries()) {
    const rank = ranks[index] as number;
    const held = parameters.weights.get(layer.name);
    if (rank > 0 && held !== undefined) {
      const { branch, rest } = await cutBranch(
        spectra[index] as BranchSpectrum,
        rank,
        layer,
        layer.weight,
        options.breathe,
      );
      branches.set(layer.name, branch);
      weights.set(layer.name, { ...held, weight: rest, scales: weightScales(rest, layer.weight) });
    }
    await options.onLayer?.(layers.length + index + 1, 2 * layers.length);
  }
  return { ...parameters, weights, branches };
}

function quantizersByLayer(plan: QuantizationPlan): Map<string, string> {
  const found = new Map<string, string>();
  for (const { id, readers } of activationQuantizers(plan)) {
    for (const { layer, index } of readers) if (index === 0) found.set(layer, id);
  }
  return found;
}

/**
 * Gains in units of the network's output error, scaled so that without a branch they sum to the layer's measured effect; or
 * relative to the layer's own output: Σ|H (W − L) S|² is divided by Σ|W X^½|² then.
 */
async function spectrumOf(
  layer: BranchableLayer,
  quantizer: string,
  { parameters, statistics, settings, breathe }: AddBranchesOptions,
): Promise<{ spectrum: BranchSpectrum; gains: Float64Array }> {
  const errors = statistics.errors.get(layer.name);
  const held = parameters.weights.get(layer.name);
  if (errors === undefined || held === undefined) throw new RangeError(`no statistics of ${layer.name}`);
  const byOutput = settings.weighting !== 'layer';
  const sensitivity = byOutput ? (statistics.sensitivity.get(layer.name) ?? null) : null;
  const problem = { weight: held.weight, layout: layer.weight, errors, sensitivity };
  const spectrum = await branchSpectrum(problem, breathe);
  if (byOutput) {
    const sum = spectrum.gains.reduce((total, gain) => total + gain, 0);
    const factor = (statistics.effects.get(layer.name) ?? sum) / Math.max(sum, Number.MIN_VALUE);
    return { spectrum, gains: spectrum.gains.map((gain) => gain * factor) };
  }
  const energy = outputEnergy(spectrum.weight, statistics.inputs.get(quantizer) ?? errors, tapsOf(layer.weight));
  return { spectrum, gains: spectrum.gains.map((gain) => gain / Math.max(energy, Number.MIN_VALUE)) };
}

/** tr(W (I ⊗ X) Wᵀ): the energy of the layer's output, biases left out, pixels of a kernel taken for independent. */
function outputEnergy(weight: Matrix, inputs: Matrix, taps: number): number {
  const channels = inputs.rows;
  let energy = 0;
  for (let row = 0; row < weight.rows; row += 1) {
    for (let tap = 0; tap < taps; tap += 1) {
      const from = row * weight.cols + tap * channels;
      for (let i = 0; i < channels; i += 1) {
        let sum = 0;
        for (let j = 0; j < channels; j += 1) {
          sum += (inputs.data[i * channels + j] as number) * (weight.data[from + j] as number);
        }
        energy += (weight.data[from + i] as number) * sum;
      }
    }
  }
  return energy;
}
