import {
  type Graph,
  initializerFromTensor,
  intAttribute,
  intsAttribute,
  node,
  stringAttribute,
} from '../../models/onnx/graph.js';
import type { Shapes } from '../../models/onnx/shape-inference.js';
import { tensorFromInitializer } from '../../models/onnx/tensor-from-initializer.js';
import { asFloat32, float32 } from '../../models/tensors/tensor.js';
import { constantValue } from '../constant-value.js';
import { weightMatrix } from '../rounding/weight-matrix.js';
import { type ChannelAffine, channelAffine } from './channel-affine.js';
import { type InputSite, inputSites, scaleInputs, type WeightedLayer, weightOf } from './input-sites.js';

/**
 * A norm's affine part becomes part of the layers behind it:
 *
 *   W (γ ∘ n + β) + b = (W diag γ) n + (W β + b)
 *
 * so that what is quantized is n, whose channels all have the same size. Legal where nothing but layers with weights of their
 * own reads the norm's output; a convolution that pads with zeros sees γ·0 = 0 at its edges but would miss β there, so it
 * qualifies only with β = 0. QuaRot (Ashkboos et al., NeurIPS 2024, §4) folds norms for the same reason.
 */
export function foldNorms(graph: Graph, shapes: Shapes): number {
  let count = 0;
  for (const site of inputSites(graph, shapes)) {
    const affine = channelAffine(graph, site.value, site.channelAxis, site.rank);
    if (affine === undefined || !site.isOwn || !isFoldable(graph, site, affine)) continue;
    for (const layer of site.layers) {
      if (affine.beta !== null) addToBias(graph, layer, timesInputs(graph, layer, affine.beta));
      scaleInputs(graph, layer, affine.gamma);
    }
    affine.remove();
    count += 1;
  }
  return count;
}

function isFoldable(graph: Graph, { layers }: InputSite, { beta }: ChannelAffine): boolean {
  const isPlain = beta === null || beta.every((value) => value === 0);
  return layers.every((layer) => (isPlain || padsNothing(layer)) && biasIsConstant(graph, layer));
}

function padsNothing({ node: reader, opType }: WeightedLayer): boolean {
  if (opType !== 'Conv') return true;
  const automatic = stringAttribute(reader, 'auto_pad', 'NOTSET');
  return (
    (automatic === 'NOTSET' || automatic === 'VALID') && (intsAttribute(reader, 'pads') ?? []).every((pad) => pad === 0)
  );
}

function biasIsConstant(graph: Graph, { node: reader, opType }: WeightedLayer): boolean {
  const bias = reader.inputs[2] ?? '';
  if (opType === 'MatMul' || bias === '') return true;
  return constantValue(graph, bias)?.constant.type === 'float32' && intAttribute(reader, 'beta', 1) === 1;
}

/** W · β, over all taps: every tap of an unpadded convolution sees β. */
function timesInputs(graph: Graph, layer: WeightedLayer, beta: Float64Array): Float64Array {
  const { rows, cols, data } = weightMatrix(weightOf(graph, layer), layer.weight);
  return Float64Array.from({ length: rows }, (_, row) => {
    let sum = 0;
    for (let at = 0; at < cols; at += 1) sum += (data[row * cols + at] as number) * (beta[at % beta.length] as number);
    return sum;
  });
}

function addToBias(graph: Graph, layer: WeightedLayer, change: Float64Array): void {
  const { node: reader, opType, weight } = layer;
  const known = opType === 'MatMul' ? (weight.bias ?? '') : (reader.inputs[2] ?? '');
  const held = known === '' ? undefined : constantValue(graph, known)?.constant;
  const before = held === undefined ? new Float32Array(change.length) : asFloat32(tensorFromInitializer(held)).data;
  const sum = change.map((value, at) => value + (before[before.length === 1 ? 0 : at] as number));
  const dims = held === undefined || before.length === 1 ? [change.length] : held.dims;
  const name = graph.uniqueName(`${weight.initializer}.bias`);
  graph.addInitializer(initializerFromTensor(name, float32(dims, sum)));
  if (known !== '' && opType === 'MatMul') graph.replaceUses(known, name);
  else if (opType !== 'MatMul') reader.inputs = [...reader.inputs.slice(0, 2), name];
  else appendBias(graph, layer, name);
  graph.invalidate();
}

/** A MatMul without a bias gets an Add that takes over the name of its output. */
function appendBias(graph: Graph, { node: reader }: WeightedLayer, bias: string): void {
  const output = reader.outputs[0] ?? '';
  const product = graph.uniqueName(`${output}.product`);
  reader.outputs = [product];
  const add = node('Add', [product, bias], [output], { name: graph.uniqueName(`${reader.name}.bias`) });
  const next = graph.nodes[graph.nodes.indexOf(reader) + 1];
  graph.insertNodes([add], next);
}
