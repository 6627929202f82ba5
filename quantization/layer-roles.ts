import type { AttentionPart, LayerRole } from '../contracts/recipe.js';
import type { Graph, Node } from '../models/onnx/graph.js';
import type { Shapes } from '../models/onnx/shape-inference.js';
import { type AttentionLayers, findAttentionLayers } from './attention-layers.js';
import type { DataDependencies } from './data-dependencies.js';
import type { FoundLayer } from './find-layers.js';
import { layersBehind, MOVES } from './graph-trace.js';

/** Names of the denoiser's inputs; null where the model has none. */
export interface DenoiserInputs {
  readonly sample: string;
  readonly timestep: string;
  readonly conditioning: string | null;
}

export interface LayerRoles {
  roleOf(layer: FoundLayer): LayerRole;
  /** What a layer with the role attention-projection computes, in the order of ATTENTION_PARTS. */
  attentionPartsOf(layer: FoundLayer): AttentionPart[];
  readonly attention: AttentionLayers;
}

export interface RoleContext {
  readonly graph: Graph;
  readonly shapes: Shapes;
  readonly layers: readonly FoundLayer[];
  readonly dependencies: DataDependencies;
  readonly inputs: DenoiserInputs;
}

/**
 * The role of every layer, from the structure of the graph alone (names of modules are never looked at). In this order:
 * - attention-matmul: a product of two activations;
 * - first: reads the sample with no other weighted layer in between; last: no weighted layer reads what it yields;
 * - time-embedding: its input depends on the timestep alone, or on timestep and conditioning while being one vector per row;
 * - attention-projection: in front of q, k, V of an attention, or right behind softmax·V;
 * - shortcut: pointwise Conv whose output is only added to a branch of weighted layers that starts from the same input;
 * - feed-forward: norm → linear → activation or gate → linear;
 * - convolution (Conv) or linear (the rest).
 */
export function layerRoles(context: RoleContext): LayerRoles {
  const attention = findAttentionLayers(context.graph, context.layers, context.dependencies);
  const edges = findEdges(context);
  const feedForward = findFeedForward(context);
  const roleOf = (layer: FoundLayer): LayerRole => {
    if (layer.kind === 'product') return 'attention-matmul';
    if (edges.first.has(layer.node)) return 'first';
    if (edges.last.has(layer.node)) return 'last';
    if (isTimeEmbedding(context, layer)) return 'time-embedding';
    if (attention.projections.has(layer.node)) return 'attention-projection';
    if (isShortcut(context, layer)) return 'shortcut';
    if (feedForward.has(layer.node)) return 'feed-forward';
    return layer.opType === 'Conv' ? 'convolution' : 'linear';
  };
  return { roleOf, attentionPartsOf: (layer) => attentionParts(context, attention, layer), attention };
}

function attentionParts(
  { dependencies, inputs }: RoleContext,
  { operands }: AttentionLayers,
  layer: FoundLayer,
): AttentionPart[] {
  const computed = operands.get(layer.node) ?? new Set();
  const isSelf = dependencies(layer.inputs[0]?.value ?? '').has(inputs.sample);
  const keyValue = isSelf ? 'attention-self-key-value' : 'attention-cross-key-value';
  return [
    ...(computed.has('query') ? (['attention-query'] as const) : []),
    ...(computed.has('key') || computed.has('value') ? ([keyValue] as const) : []),
    ...(computed.has('output') ? (['attention-output'] as const) : []),
  ];
}

function isShapeQuery(node: Node): boolean {
  return node.opType === 'Shape' || node.opType === 'Size';
}

function weightedNodes(layers: readonly FoundLayer[]): ReadonlySet<Node> {
  return new Set(layers.filter((layer) => layer.kind === 'weight').map((layer) => layer.node));
}

/** First: weighted layers on the sample with none before them. Last: weighted layers with none after them. */
function findEdges({ graph, layers, dependencies, inputs }: RoleContext): { first: Set<Node>; last: Set<Node> } {
  const weighted = weightedNodes(layers);
  const first = new Set<Node>();
  const afterLayer = new Set<string>();
  for (const node of graph.nodes) {
    if (isShapeQuery(node)) continue;
    const isAfter = node.inputs.some((input) => afterLayer.has(input));
    const startsHere = weighted.has(node) && node.inputs.some((input) => dependencies(input).has(inputs.sample));
    if (startsHere && !isAfter) first.add(node);
    if (startsHere || isAfter) for (const output of node.outputs) afterLayer.add(output);
  }
  const last = new Set<Node>();
  const beforeLayer = new Set<string>();
  for (const node of [...graph.nodes].reverse()) {
    if (isShapeQuery(node)) continue;
    const isBefore = node.outputs.some((output) => beforeLayer.has(output));
    if (weighted.has(node) && !isBefore) last.add(node);
    if (weighted.has(node) || isBefore) for (const input of node.inputs) beforeLayer.add(input);
  }
  return { first, last };
}

function isTimeEmbedding({ dependencies, shapes, inputs }: RoleContext, layer: FoundLayer): boolean {
  const [input] = layer.inputs;
  if (input === undefined) return false;
  const from = dependencies(input.value);
  if (!from.has(inputs.timestep) || from.has(inputs.sample)) return false;
  return from.size === 1 || shapes.dimsOf(input.value).length <= 2;
}

/** A pointwise Conv that is only added to weighted branches of its own input. */
function isShortcut({ graph, layers }: RoleContext, layer: FoundLayer): boolean {
  const kernel = layer.weight?.dims.slice(2);
  if (layer.opType !== 'Conv' || kernel === undefined || kernel.some((dim) => dim !== 1)) return false;
  const branches = valuesBehindLayers(graph, layer.inputs[0]?.value ?? '', weightedNodes(layers), layer.node);
  let sum = layer.node.outputs[0] ?? '';
  for (;;) {
    const readers = graph.consumersOf(sum);
    const [add] = readers;
    if (readers.length !== 1 || add?.opType !== 'Add') return false;
    const current = sum;
    if (add.inputs.some((input) => input !== current && branches.has(input))) return true;
    sum = add.outputs[0] ?? '';
  }
}

/** Values computed from `start` through at least one weighted layer other than `except`. */
function valuesBehindLayers(graph: Graph, start: string, weighted: ReadonlySet<Node>, except: Node): Set<string> {
  const direct = new Set([start]);
  const behind = new Set<string>();
  for (const node of graph.nodes) {
    if (node === except || isShapeQuery(node)) continue;
    const isBehind = node.inputs.some((input) => behind.has(input));
    const isDirect = node.inputs.some((input) => direct.has(input));
    if (isBehind || (isDirect && weighted.has(node))) for (const output of node.outputs) behind.add(output);
    else if (isDirect) for (const output of node.outputs) direct.add(output);
  }
  return behind;
}

const ACTIVATIONS = [
  'Erf',
  'Tanh',
  'Sigmoid',
  'Gelu',
  'FastGelu',
  'Relu',
  'HardSigmoid',
  'HardSwish',
  'Softplus',
  'Swish',
] as const;

/** Between the two linears of a feed-forward block: an activation, gates, arithmetic of approximations. */
const INSIDE_FEED_FORWARD: ReadonlySet<string> = new Set([
  ...MOVES,
  ...ACTIVATIONS,
  'Mul',
  'Div',
  'Add',
  'Sub',
  'Pow',
  'Sqrt',
]);

/** Between a norm and a linear: affine parameters, modulation. */
const BEHIND_NORM: ReadonlySet<string> = new Set([...MOVES, 'Mul', 'Div', 'Add', 'Sub']);

const NORMS: ReadonlySet<string> = new Set([
  'LayerNormalization',
  'SimplifiedLayerNormalization',
  'RMSNormalization',
  'GroupNormalization',
  'InstanceNormalization',
  'ReduceMean',
]);

function findFeedForward({ graph, dependencies, layers }: RoleContext): ReadonlySet<Node> {
  const nodes = new Set(layers.map((layer) => layer.node));
  const isLayer = (node: Node): boolean => nodes.has(node);
  const inside = layersBehind({ graph, dependencies, isLayer, through: INSIDE_FEED_FORWARD });
  const linears = new Map(
    layers.filter((layer) => layer.kind === 'weight' && layer.opType !== 'Conv').map((layer) => [layer.node, layer]),
  );
  const found = new Set<Node>();
  for (const [second, layer] of linears) {
    const trace = inside(layer.inputs[0]?.value ?? '');
    if (trace.layers.size === 0 || !ACTIVATIONS.some((operator) => trace.passed.has(operator))) continue;
    const firsts = [...trace.layers].map((node) => linears.get(node));
    if (!firsts.every((first) => first !== undefined && readsNorm(graph, first.inputs[0]?.value ?? '', isLayer)))
      continue;
    for (const node of [second, ...trace.layers]) found.add(node);
  }
  return found;
}

function readsNorm(graph: Graph, value: string, isLayer: (node: Node) => boolean): boolean {
  const producer = graph.producerOf(value);
  if (producer === undefined || isLayer(producer)) return false;
  if (NORMS.has(producer.opType)) return true;
  if (!BEHIND_NORM.has(producer.opType)) return false;
  return producer.inputs.some((input) => readsNorm(graph, input, isLayer));
}
