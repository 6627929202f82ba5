import { NibbleflowError } from '../contracts/errors.js';
import type { LayerRole, Recipe } from '../contracts/recipe.js';
import type { Graph } from '../models/onnx/graph.js';
import { multiplyAdds } from '../models/onnx/macs.js';
import type { Shapes } from '../models/onnx/shape-inference.js';
import { elementCount } from '../models/tensors/tensor.js';
import { withGrid } from './activation-grids.js';
import { coverageOf, estimateBytes } from './coverage.js';
import { type DataDependencies, dataDependencies } from './data-dependencies.js';
import { type FoundLayer, type FoundWeight, findLayers, type LayerInput } from './find-layers.js';
import { layerNames } from './layer-names.js';
import { type LayerOverride, layerOverrides } from './layer-overrides.js';
import type { ActivationScheme, PlannedInput, PlannedLayer, QuantizationPlan, WeightScheme } from './layer-plan.js';
import { type DenoiserInputs, type LayerRoles, layerRoles } from './layer-roles.js';
import { planNotices, refuseLargeHistograms, refusePixelGroups } from './plan-notices.js';

export interface PlanLayersOptions {
  /** The transformed denoiser. */
  readonly graph: Graph;
  /** For batch 2 and, where the model allows it, one timestep, so that rows can be told apart. */
  readonly shapes: Shapes;
  readonly recipe: Recipe;
  readonly inputs: DenoiserInputs;
  /** Bytes of the float denoiser, external data included. */
  readonly floatBytes: number;
  /** Bytes of the transformed graph as a file, which the estimate starts from; default: floatBytes. */
  readonly transformedBytes?: number;
}

/** Smaller groups cost more in scales than they win: such channels share one scale. */
const SMALLEST_GROUP = 8;

/**
 * Decides what happens to every Conv, Gemm and MatMul of the denoiser: role, bits, scales, or the reason it stays float.
 * - Bits: first and last layer `edges.bits`; inputs of q·kᵀ and softmax·V `attention.bits`; all others `weights.bits` and
 *   `activations.bits`; overrides win.
 * - Groups: the largest divisor of the input channels that is at most the wanted group size. First and last layer have a
 *   scale per output channel. Dynamic ranges of edges and of q·kᵀ and softmax·V span all channels.
 * - What comes out of a softmax has unsigned codes. Further grids: activation-grids.ts.
 * Throws InvalidModel for inputs that the graph does not have, InvalidRecipe for overrides that cannot be meant.
 */
export function planLayers(options: PlanLayersOptions): QuantizationPlan {
  const { graph, shapes, recipe, inputs } = options;
  checkInputs(graph, inputs);
  refusePixelGroups(graph, recipe);
  const dependencies = dataDependencies(graph);
  const found = findLayers(graph, shapes, dependencies);
  const roles = layerRoles({ graph, shapes, layers: found, dependencies, inputs });
  const names = layerNames(found, (layer) => productEnding(roles, layer));
  const overrideOf = layerOverrides(recipe.overrides, [...names.values()]);
  const planner = { ...options, dependencies, roles };
  const layers = found.map((layer) => {
    const name = names.get(layer) ?? layer.node.name;
    return plannedLayer(planner, layer, { name, override: overrideOf(name) });
  });
  refuseLargeHistograms(recipe, layers);
  return {
    schemaVersion: 1,
    layers,
    coverage: coverageOf(layers, recipe),
    floatBytes: options.floatBytes,
    estimatedBytes: estimateBytes(layers, recipe, options.transformedBytes ?? options.floatBytes),
    ...planNotices(graph, recipe, layers),
  };
}

interface Planner extends PlanLayersOptions {
  readonly dependencies: DataDependencies;
  readonly roles: LayerRoles;
}

function checkInputs(graph: Graph, inputs: DenoiserInputs): void {
  const known = graph.inputs.map((input) => input.name);
  for (const name of [inputs.sample, inputs.timestep, inputs.conditioning]) {
    if (name === null || known.includes(name)) continue;
    throw new NibbleflowError('InvalidModel', `the denoiser has no input ${name}`, {
      where: `inputs ${known.join(', ')}`,
      fix: 'Export the denoiser with its usual input names.',
    });
  }
}

function productEnding({ attention }: LayerRoles, layer: FoundLayer): string {
  if (attention.contexts.has(layer.node)) return '.sv';
  return attention.scores.has(layer.node) ? '.qk' : '.product';
}

function plannedLayer(
  planner: Planner,
  layer: FoundLayer,
  { name, override }: { readonly name: string; readonly override: LayerOverride },
): PlannedLayer {
  const role = planner.roles.roleOf(layer);
  const skipped = reasonToSkip(planner.recipe, layer, override);
  const scheme = (input: LayerInput): ActivationScheme => activationScheme(planner, input, role, override);
  const inputs = layer.inputs.map(
    (input): PlannedInput => ({
      ...input,
      rows: rowsOf(planner, input.value),
      scheme: withGrid(planner, layer, input, { role, scheme: scheme(input) }),
    }),
  );
  return {
    name,
    node: layer.node.name,
    opType: layer.opType,
    role,
    ...(role === 'attention-projection' ? { attentionParts: planner.roles.attentionPartsOf(layer) } : {}),
    output: layer.node.outputs[0] ?? '',
    weight:
      layer.weight === null
        ? null
        : { ...layer.weight, scheme: weightScheme(planner.recipe, layer.weight, role, override) },
    inputs: skipped === null ? inputs : [],
    skipped,
    parameters: layer.weight === null ? 0 : elementCount(layer.weight.dims),
    macs: macsPerSample(planner, layer, inputs),
  };
}

function reasonToSkip(recipe: Recipe, layer: FoundLayer, override: LayerOverride): string | null {
  if (layer.obstacle !== null) return layer.obstacle;
  if (override.skip) return 'an override of the recipe skips it';
  if (layer.kind === 'product' && recipe.attention.bits === null && override.activationBits === undefined) {
    return 'the recipe leaves products of two activations float (attention.bits is null)';
  }
  return null;
}

function isEdge(role: LayerRole): boolean {
  return role === 'first' || role === 'last';
}

function weightScheme(recipe: Recipe, weight: FoundWeight, role: LayerRole, override: LayerOverride): WeightScheme {
  const { bits, granularity, groupSize, range } = recipe.weights;
  const isGrouped = granularity === 'group' && !isEdge(role);
  return {
    bits: override.weightBits ?? (isEdge(role) ? recipe.edges.bits : bits),
    groupSize: isGrouped ? groupFor(weight.dims[weight.inputAxis] ?? 0, groupSize) : null,
    range,
  };
}

function activationScheme(
  planner: Planner,
  input: LayerInput,
  role: LayerRole,
  override: LayerOverride,
): ActivationScheme {
  const { recipe, shapes, roles } = planner;
  const { bits, symmetric, ranges, groupSize, range } = recipe.activations;
  const isProduct = role === 'attention-matmul';
  const ownBits = isEdge(role) ? recipe.edges.bits : isProduct ? (recipe.attention.bits ?? bits) : bits;
  const isGrouped = ranges === 'dynamic' && groupSize !== null && !isEdge(role) && !isProduct;
  return {
    bits: override.activationBits ?? ownBits,
    symmetric: symmetric && !roles.attention.probabilities.has(input.value),
    ranges,
    groupSize: isGrouped ? groupFor(shapes.dimsOf(input.value)[input.channelAxis] ?? 0, groupSize) : null,
    range: ranges === 'dynamic' ? 'minmax' : range,
  };
}

/** The largest divisor of `channels` that is at most `wanted`; null (no groups) when it is below SMALLEST_GROUP. */
function groupFor(channels: number, wanted: number): number | null {
  for (let size = Math.min(wanted, channels); size >= SMALLEST_GROUP; size -= 1) {
    if (channels % size === 0) return size;
  }
  return null;
}

function rowsOf({ shapes, dependencies, inputs }: Planner, value: string): PlannedInput['rows'] {
  const rows = shapes.dimsOf(value)[0] ?? 1;
  if (rows === (shapes.dimsOf(inputs.sample)[0] ?? 1)) return 'batch';
  const from = dependencies(value);
  const isTimestep = from.size === 1 && from.has(inputs.timestep);
  return isTimestep && rows === (shapes.dimsOf(inputs.timestep)[0] ?? 1) ? 'timestep' : 'other';
}

/** Multiply-adds of one sample; rows that count timesteps are computed once for the whole batch, and counted so. */
function macsPerSample({ shapes, inputs }: Planner, layer: FoundLayer, planned: readonly PlannedInput[]): number {
  const total = multiplyAdds(layer.node, shapes);
  return planned.some((input) => input.rows === 'timestep') ? total : total / (shapes.dimsOf(inputs.sample)[0] ?? 1);
}
