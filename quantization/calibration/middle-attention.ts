import type { Graph } from '../../models/onnx/graph.js';
import type { Shapes } from '../../models/onnx/shape-inference.js';
import { elementCount } from '../../models/tensors/tensor.js';
import { findAttentionLayers } from '../attention-layers.js';
import { dataDependencies } from '../data-dependencies.js';
import { type FoundLayer, findLayers } from '../find-layers.js';

export interface AttentionInput {
  /** What the query projection reads. */
  readonly value: string;
  readonly channelAxis: number;
}

/**
 * The input of the denoiser's middle self-attention, found by structure alone: of the attentions whose query and key
 * projections read the same value, those with the fewest tokens (the lowest resolution), and of these the middle one in graph
 * order. In a UNet that is the middle block's, in a transformer the middle block of the stack. The value is the projection's
 * input, behind the block's norm, so that distances have a scale that models share.
 * @returns null when there is no self-attention
 */
export function middleAttention(graph: Graph, shapes: Shapes): AttentionInput | null {
  const dependencies = dataDependencies(graph);
  const layers = findLayers(graph, shapes, dependencies);
  const { operands } = findAttentionLayers(graph, layers, dependencies);
  const inputOf = (layer: FoundLayer): string => layer.inputs[0]?.value ?? '';
  const keys = new Set(layers.filter(({ node }) => operands.get(node)?.has('key')).map(inputOf));
  const found = layers.filter((layer) => operands.get(layer.node)?.has('query') && keys.has(inputOf(layer)));
  const tokens = (layer: FoundLayer): number => {
    const dims = shapes.dimsOf(inputOf(layer));
    const axis = layer.inputs[0]?.channelAxis ?? -1;
    return elementCount(dims) / (dims.at(axis) ?? 1);
  };
  const fewest = found.reduce((least, layer) => Math.min(least, tokens(layer)), Number.POSITIVE_INFINITY);
  const lowest = found.filter((layer) => tokens(layer) === fewest);
  const input = lowest[Math.floor((lowest.length - 1) / 2)]?.inputs[0];
  return input === undefined ? null : { value: input.value, channelAxis: input.channelAxis };
}
