import type { LayerRole, Recipe } from '../contracts/recipe.js';
import type { Graph } from '../models/onnx/graph.js';
import type { Shapes } from '../models/onnx/shape-inference.js';
import { elementCount } from '../models/tensors/tensor.js';
import type { DataDependencies } from './data-dependencies.js';
import type { FoundLayer, LayerInput } from './find-layers.js';
import type { ActivationScheme, RangeSpread, SpreadAxes } from './layer-plan.js';
import type { DenoiserInputs, LayerRoles } from './layer-roles.js';

export interface GridContext {
  readonly graph: Graph;
  readonly shapes: Shapes;
  readonly recipe: Recipe;
  readonly roles: LayerRoles;
  readonly dependencies: DataDependencies;
  readonly inputs: DenoiserInputs;
}

/**
 * What a recipe adds to the plain scheme of an activation: logarithmic codes for probabilities, the start token of
 * cross-attention left float, stored ranges of channels or of groups.
 *
 * - channel (QuEST, Wang et al., ICCV 2025): the channels of a convolution, the features of a linear layer, q, k and V, the
 *   keys of probabilities. Where the number of keys is not known in advance the whole value keeps one range.
 * - groups (DGQ, Ryu et al., ICLR 2025): channels or pixels (tokens) of everything but the first and last layer, vectors
 *   (values of two axes) and probabilities.
 */
export function withGrid(
  context: GridContext,
  layer: FoundLayer,
  input: LayerInput,
  { role, scheme }: { readonly role: LayerRole; readonly scheme: ActivationScheme },
): ActivationScheme {
  const { recipe } = context;
  const { probabilities } = recipe.attention;
  const floatFirst = firstTokenAxis(context, layer, input);
  const first = floatFirst === null ? {} : { floatFirst };
  if (probabilities !== 'uniform' && isProbability(context, layer, input)) {
    const atRunTime = { symmetric: false, ranges: 'dynamic', groupSize: null, range: 'minmax' } as const;
    return { ...scheme, ...atRunTime, grid: probabilities, ...first };
  }
  const spread = spreadOf(context, layer, input, role);
  return { ...scheme, ...(spread === null ? {} : { spread }), ...first };
}

/** Whether every input of the graph has numbers for all dims but the batch. */
export function hasFixedSize(graph: Graph): boolean {
  return graph.inputs.every(({ shape }) => (shape ?? ['?']).slice(1).every((dim) => typeof dim === 'number'));
}

/** Whether tables may have an entry per pixel or token. */
export function allowsPixels({ graph, recipe }: Pick<GridContext, 'graph' | 'recipe'>): boolean {
  return recipe.activations.grouping.fixedSize || hasFixedSize(graph);
}

function isProbability({ roles: { attention } }: GridContext, layer: FoundLayer, { value }: LayerInput): boolean {
  return attention.contexts.has(layer.node) && attention.probabilities.has(value);
}

/** Token axis of the keys and probabilities of cross-attention, whose keys do not depend on the picture. */
function firstTokenAxis(context: GridContext, layer: FoundLayer, input: LayerInput): number | null {
  const { attention } = context.roles;
  if (!context.recipe.attention.keepFirstToken) return null;
  const ofText = (one: LayerInput): boolean => !context.dependencies(one.value).has(context.inputs.sample);
  const dims = context.shapes.dimsOf(input.value);
  const axisIfMany = (axis: number): number | null => ((dims[axis] ?? 1) > 1 ? axis : null);
  if (attention.scores.has(layer.node) && input.index === 1 && ofText(input)) {
    return axisIfMany(otherAxis(dims.length, input.channelAxis));
  }
  if (!isProbability(context, layer, input)) return null;
  const values = layer.inputs.find(({ index }) => index !== input.index);
  return values !== undefined && ofText(values) ? axisIfMany(input.channelAxis) : null;
}

/** The axis of a matrix operand that a product does not contract. */
function otherAxis(rank: number, contracted: number): number {
  return contracted === rank - 1 ? rank - 2 : rank - 1;
}

function spreadOf(context: GridContext, layer: FoundLayer, input: LayerInput, role: LayerRole): RangeSpread | null {
  const { granularity, grouping, ranges } = context.recipe.activations;
  if (ranges === 'dynamic') return null;
  const { channel, pixel } = axesOf(context, layer, input);
  if (granularity === 'channel') {
    const isKnown = !isProbability(context, layer, input) || hasFixedSize(context.graph);
    return channel === null || !isKnown ? null : { candidates: [channel], groups: null };
  }
  const isEdge = role === 'first' || role === 'last';
  const isVector = context.shapes.dimsOf(input.value).length < 3;
  if (grouping.method === 'none' || isEdge || isVector || isProbability(context, layer, input)) return null;
  const wanted = {
    channel: [channel],
    pixel: [pixel],
    auto: allowsPixels(context) ? [channel, pixel] : [channel],
  }[grouping.axis];
  const candidates = wanted.filter((one): one is SpreadAxes => one !== null);
  return candidates.length === 0 ? null : { candidates, groups: grouping.groups };
}

/** The axes that count channels and those that count pixels or tokens; null where that would be axis 0. */
function axesOf(
  context: GridContext,
  layer: FoundLayer,
  input: LayerInput,
): { readonly channel: SpreadAxes | null; readonly pixel: SpreadAxes | null } {
  const dims = context.shapes.dimsOf(input.value);
  const spread = (kind: SpreadAxes['kind'], axes: readonly number[]): SpreadAxes | null => {
    const isFirst = axes.includes(0) || axes.length === 0;
    return isFirst ? null : { kind, axes, entries: elementCount(axes.map((axis) => dims[axis] ?? 1)) };
  };
  if (layer.opType === 'Conv') {
    const spatial = Array.from({ length: dims.length - 2 }, (_, index) => index + 2);
    return { channel: spread('channel', [1]), pixel: spread('pixel', spatial) };
  }
  const contracted = input.channelAxis;
  const other = otherAxis(dims.length, contracted);
  // V is contracted over tokens.
  const { attention } = context.roles;
  const isValue = attention.contexts.has(layer.node) && !attention.probabilities.has(input.value);
  const [features, tokens] = isValue ? [other, contracted] : [contracted, other];
  return { channel: spread('channel', [features]), pixel: spread('pixel', [tokens]) };
}
