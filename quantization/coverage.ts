import type { Recipe } from '../contracts/recipe.js';
import type { ActivationScheme, Coverage, PlannedInput, PlannedLayer } from './layer-plan.js';

/**
 * Shares of layers, weight elements and multiply-adds at the recipe's low bits. Layers, parameters and macs count the layers
 * with weights only; `macsByBits` counts every multiply-add of the plan, also those of q·kᵀ and softmax·V.
 */
export function coverageOf(layers: readonly PlannedLayer[], recipe: Recipe): Coverage {
  const weighted = layers.filter((layer) => layer.parameters > 0);
  const low = weighted.filter((layer) => isLow(layer, recipe));
  const share = (of: (layer: PlannedLayer) => number): number => ratio(sum(low, of), sum(weighted, of));
  const macsByBits: Record<string, number> = {};
  const total = sum(layers, (layer) => layer.macs);
  for (const layer of layers) {
    const label = bitsLabel(layer);
    macsByBits[label] = (macsByBits[label] ?? 0) + ratio(layer.macs, total);
  }
  return {
    layers: share(() => 1),
    parameters: share((layer) => layer.parameters),
    macs: share((layer) => layer.macs),
    macsByBits,
    ...(recipe.lowRank.macsBudget > 0 ? { branchBudget: recipe.lowRank.macsBudget } : {}),
  };
}

/** `w4a4` for a weight and an input, `a8a8` for two inputs, `float` for a skipped layer. */
export function bitsLabel(layer: PlannedLayer): string {
  if (layer.skipped !== null) return 'float';
  const inputs = layer.inputs.map((input) => `a${input.scheme.bits}`).join('');
  return layer.weight === null ? inputs : `w${layer.weight.scheme.bits}${inputs}`;
}

function isLow({ skipped, weight, inputs }: PlannedLayer, recipe: Recipe): boolean {
  if (skipped !== null || weight === null) return false;
  return (
    weight.scheme.bits <= recipe.weights.bits && inputs.every((input) => input.scheme.bits <= recipe.activations.bits)
  );
}

/**
 * Bytes of a node with its names in the file: the zoo denoiser spends 465 kB on 1,971 nodes. Only an estimate: converted
 * nodes have names of their own.
 */
const NODE_BYTES = 236;
/** Nodes of one activation quantizer; dynamic ones find their range in the graph. */
const QUANTIZER_NODES = { static: 2, timestep: 4, dynamic: 12 } as const;
/** Bytes of the nodes of one activation quantizer. */
export const QUANTIZER_BYTES = {
  static: QUANTIZER_NODES.static * NODE_BYTES,
  timestep: QUANTIZER_NODES.timestep * NODE_BYTES,
  dynamic: QUANTIZER_NODES.dynamic * NODE_BYTES,
} as const;
const SCALE_BYTES = 4;
const ZERO_POINT_BYTES = 1;
const FLOAT_BYTES = 4;
/** Of a number in a float side branch. Branches are taken to have as many numbers per multiply-add as the layers. */
const BRANCH_BYTES = 2;

/**
 * Estimated bytes of the quantized denoiser: the file of the float graph, less the float bytes of quantized weights, plus their codes (two
 * a byte up to 4 bits, else one), scales, activation tables and quantizer nodes.
 */
export function estimateBytes(layers: readonly PlannedLayer[], recipe: Recipe, floatBytes: number): number {
  let bytes = floatBytes;
  const quantizers = new Map<string, PlannedInput>();
  const weights = new Set<string>();
  for (const layer of layers) {
    if (layer.skipped !== null) continue;
    for (const input of layer.inputs) quantizers.set(`${input.value} ${JSON.stringify(input.scheme)}`, input);
    if (layer.weight === null || weights.has(layer.weight.initializer)) continue;
    weights.add(layer.weight.initializer);
    const { scheme, dims, outputAxis } = layer.weight;
    const scales = scheme.groupSize === null ? (dims[outputAxis] ?? 0) : layer.parameters / scheme.groupSize;
    bytes +=
      codeBytes(scheme.bits, layer.parameters) + scales * SCALE_BYTES + NODE_BYTES - layer.parameters * FLOAT_BYTES;
  }
  for (const { scheme } of quantizers.values()) {
    const rows = scheme.ranges === 'timestep' ? recipe.calibration.timesteps : 1;
    bytes += QUANTIZER_BYTES[scheme.ranges] + (scheme.ranges === 'dynamic' ? 0 : rows * rowBytes(scheme));
  }
  const branches = recipe.lowRank.macsBudget * sum(layers, (layer) => layer.parameters) * BRANCH_BYTES;
  return Math.round(bytes + branches);
}

/** Bytes of one row of a range table; groups are counted with the candidate that has more entries. */
function rowBytes({ spread }: ActivationScheme): number {
  const range = SCALE_BYTES + ZERO_POINT_BYTES;
  if (spread === undefined) return range;
  const entries = Math.max(...spread.candidates.map((candidate) => candidate.entries));
  return spread.groups === null ? entries * range : entries + spread.groups * range;
}

/** Bytes of weight codes: two a byte up to 4 bits, else one. */
export function codeBytes(bits: number, parameters: number): number {
  return bits <= 4 ? Math.ceil(parameters / 2) : parameters;
}

function sum(layers: readonly PlannedLayer[], of: (layer: PlannedLayer) => number): number {
  return layers.reduce((total, layer) => total + of(layer), 0);
}

function ratio(part: number, whole: number): number {
  return whole === 0 ? 0 : part / whole;
}
