import { type Graph, initializerFromTensor, type Node, node } from '../../models/onnx/graph.js';
import type { Shapes } from '../../models/onnx/shape-inference.js';
import { tensorFromInitializer } from '../../models/onnx/tensor-from-initializer.js';
import { asFloat32, type Float32Tensor, float32 } from '../../models/tensors/tensor.js';
import { dataDependencies } from '../data-dependencies.js';
import { type FoundLayer, type FoundWeight, findLayers } from '../find-layers.js';
import { weightFromMatrix, weightMatrix } from '../rounding/weight-matrix.js';

/** A value that layers with weights read, and those layers. */
export interface InputSite {
  readonly value: string;
  readonly channelAxis: number;
  readonly rank: number;
  readonly channels: number;
  readonly layers: readonly WeightedLayer[];
  /** Nothing but these layers reads it. */
  readonly isOwn: boolean;
}

export interface WeightedLayer extends FoundLayer {
  readonly weight: FoundWeight;
}

/** Values whose channels can be scaled when the weights behind are scaled back, in graph order. */
export function inputSites(graph: Graph, shapes: Shapes): InputSite[] {
  const byValue = new Map<string, WeightedLayer[]>();
  for (const layer of findLayers(graph, shapes, dataDependencies(graph))) {
    const [input] = layer.inputs;
    if (!isScalable(graph, layer) || input === undefined) continue;
    const known = byValue.get(input.value);
    if (known === undefined) byValue.set(input.value, [layer]);
    else known.push(layer);
  }
  return [...byValue].flatMap(([value, layers]) => {
    const dims = shapes.dimsOf(value);
    const channelAxis = layers[0]?.inputs[0]?.channelAxis ?? 0;
    const channels = dims[channelAxis] ?? 0;
    const fits = layers.every(
      ({ weight, inputs }) => inputs[0]?.channelAxis === channelAxis && weight.dims[weight.inputAxis] === channels,
    );
    if (!fits) return [];
    const nodes = new Set(layers.map((layer) => layer.node));
    const isOutput = graph.outputs.some((output) => output.name === value);
    const isOwn = !isOutput && graph.consumersOf(value).every((reader) => nodes.has(reader));
    return [{ value, channelAxis, rank: dims.length, channels, layers, isOwn }];
  });
}

/** A weight of its own, read where it is stored; grouped convolutions have fewer input channels than their input. */
function isScalable(graph: Graph, layer: FoundLayer): layer is WeightedLayer {
  const { weight, obstacle, inputs, node: reader } = layer;
  if (layer.kind !== 'weight' || weight === null || obstacle !== null || inputs[0]?.index !== 0) return false;
  return reader.inputs[1] === weight.initializer && graph.consumersOf(weight.initializer).length === 1;
}

export function weightOf(graph: Graph, { weight }: WeightedLayer): Float32Tensor {
  const found = graph.initializers.get(weight.initializer);
  if (found === undefined) throw new Error(`weight ${weight.initializer} is not an initializer`);
  return asFloat32(tensorFromInitializer(found));
}

/** W ← W · diag(factors), in place. */
export function scaleInputs(graph: Graph, layer: WeightedLayer, factors: Float64Array): void {
  const matrix = weightMatrix(weightOf(graph, layer), layer.weight);
  const data = matrix.data.map((value, at) => value * (factors[(at % matrix.cols) % factors.length] as number));
  const scaled = weightFromMatrix({ ...matrix, data }, layer.weight);
  graph.addInitializer(initializerFromTensor(layer.weight.initializer, scaled));
}

/** Lets the site's layers read value · 1, with constants of its own: a scaling for later. */
export function insertScaling(graph: Graph, { value, channels, channelAxis, rank, layers }: InputSite): void {
  const scaled = graph.uniqueName(`${value}.smooth`);
  const dims = [channels, ...new Array<number>(rank - 1 - channelAxis).fill(1)];
  const ones = float32(dims, new Float32Array(channels).fill(1));
  const factor = graph.addInitializer(initializerFromTensor(graph.uniqueName(`${value}.smoothing`), ones));
  const mul = node('Mul', [value, factor], [scaled], { name: graph.uniqueName(`${value}.smooth.Mul`) });
  for (const { node: reader } of layers) readInstead(reader, value, scaled);
  const first = graph.nodes.find((each) => layers.some((layer) => layer.node === each));
  graph.insertNodes([mul], first);
}

function readInstead(reader: Node, from: string, to: string): void {
  reader.inputs = reader.inputs.map((input, index) => (index === 0 && input === from ? to : input));
}
