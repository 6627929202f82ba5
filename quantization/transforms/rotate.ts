import { type Graph, initializerFromTensor, type Node } from '../../models/onnx/graph.js';
import type { Shapes } from '../../models/onnx/shape-inference.js';
import { dataDependencies } from '../data-dependencies.js';
import { findLayers } from '../find-layers.js';
import { weightFromMatrix, weightMatrix } from '../rounding/weight-matrix.js';
import { type WeightedLayer, weightOf } from './input-sites.js';

/**
 * Values and the output projection of attention have only softmax·V and a change of layout between them, so a rotation H of
 * each head's channels folds into both without a trace (QuaRot, Ashkboos et al., NeurIPS 2024, §4, stage 1c):
 *
 *   W_out · (P · W_v x) = (W_out (I ⊗ H)ᵀ) · (P · ((I ⊗ H) W_v) x)
 *
 * H is the normalized Walsh–Hadamard matrix of the head's size (a power of two), which spreads outlying channels over all.
 */
export function rotateHeads(graph: Graph, shapes: Shapes): number {
  const found = findLayers(graph, shapes, dataDependencies(graph));
  const weighted = new Map(
    found.flatMap((layer) => (layer.weight === null ? [] : [[layer.node, layer as WeightedLayer] as const])),
  );
  let count = 0;
  for (const { node: product, kind } of found) {
    if (kind !== 'product') continue;
    const size = shapes.dimsOf(product.inputs[1] ?? '').at(-1) ?? 0;
    const value = weighted.get(behind(graph, product.inputs[1] ?? '') as Node);
    const output = weighted.get(ahead(graph, product.outputs[0] ?? '') as Node);
    if (value === undefined || output === undefined || !isPowerOfTwo(size)) continue;
    if (!canRotate(graph, value, output, size)) continue;
    rotateOutputs(graph, value, size);
    rotateInputs(graph, output, size);
    count += 1;
  }
  return count;
}

const LAYOUT: ReadonlySet<string> = new Set(['Reshape', 'Transpose', 'Squeeze', 'Unsqueeze', 'Identity']);

/** The node behind changes of layout, each read by one node only; an Add of a bias is passed. */
function behind(graph: Graph, value: string): Node | undefined {
  if (graph.consumersOf(value).length !== 1) return undefined;
  const producer = graph.producerOf(value);
  if (producer !== undefined && LAYOUT.has(producer.opType)) return behind(graph, producer.inputs[0] ?? '');
  return producer;
}

function ahead(graph: Graph, value: string): Node | undefined {
  const [reader, ...others] = graph.consumersOf(value);
  if (reader === undefined || others.length > 0) return undefined;
  return LAYOUT.has(reader.opType) ? ahead(graph, reader.outputs[0] ?? '') : reader;
}

function isPowerOfTwo(size: number): boolean {
  return size > 1 && (size & (size - 1)) === 0;
}

/** Whole heads on both sides, weights of their own, and a bias that can be rotated along. */
function canRotate(graph: Graph, value: WeightedLayer, output: WeightedLayer, size: number): boolean {
  const [channels, inputs] = [value.weight.dims[value.weight.outputAxis], output.weight.dims[output.weight.inputAxis]];
  const own = [value, output].every(
    ({ weight, node }) =>
      graph.consumersOf(weight.initializer).length === 1 &&
      node.inputs[1] === weight.initializer &&
      graph.initializers.get(weight.initializer)?.type === 'float32',
  );
  const hasBias = value.opType !== 'MatMul' && (value.node.inputs[2] ?? '') !== '';
  return own && !hasBias && channels !== undefined && channels === inputs && channels % size === 0;
}

function rotateOutputs(graph: Graph, layer: WeightedLayer, size: number): void {
  const matrix = weightMatrix(weightOf(graph, layer), layer.weight);
  for (let column = 0; column < matrix.cols; column += 1) {
    for (let start = 0; start < matrix.rows; start += size) {
      hadamard(matrix.data, start * matrix.cols + column, matrix.cols, size);
    }
  }
  store(graph, layer, matrix.data, matrix);
}

function rotateInputs(graph: Graph, layer: WeightedLayer, size: number): void {
  const matrix = weightMatrix(weightOf(graph, layer), layer.weight);
  for (let at = 0; at < matrix.data.length; at += size) hadamard(matrix.data, at, 1, size);
  store(graph, layer, matrix.data, matrix);
}

function store(
  graph: Graph,
  { weight }: WeightedLayer,
  data: Float64Array,
  { rows, cols }: { readonly rows: number; readonly cols: number },
): void {
  graph.addInitializer(initializerFromTensor(weight.initializer, weightFromMatrix({ rows, cols, data }, weight)));
}

/** x ← H x / √size for `size` numbers `stride` apart (fast Walsh–Hadamard transform); H is symmetric and its own inverse. */
function hadamard(data: Float64Array, offset: number, stride: number, size: number): void {
  for (let half = 1; half < size; half *= 2) {
    for (let start = 0; start < size; start += 2 * half) {
      for (let i = start; i < start + half; i += 1) {
        const [p, q] = [offset + i * stride, offset + (i + half) * stride];
        const [a, b] = [data[p] as number, data[q] as number];
        data[p] = (a + b) * Math.SQRT1_2;
        data[q] = (a - b) * Math.SQRT1_2;
      }
    }
  }
}
