import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { buildBackward } from '../../../models/autodiff/build-backward.js';
import { recomputeBlocks } from '../../../models/autodiff/memory/recompute-blocks.js';
import { saveInEightBits } from '../../../models/autodiff/memory/save-in-eight-bits.js';
import { makeTrainable } from '../../../models/autodiff/trainable-inputs.js';
import { foldConstants } from '../../../models/onnx/fold-constants.js';
import { type Graph, node } from '../../../models/onnx/graph.js';
import { readModel } from '../../../models/onnx/model-proto.js';
import { inferShapes, type Shapes } from '../../../models/onnx/shape-inference.js';
import { gaussianTensor } from '../../../models/tensors/random.js';
import { int64, type Tensor } from '../../../models/tensors/tensor.js';
import { appendMeanSquare, graphOf, maxAbs, maxAbsDifference, runGraph } from './train-graph.js';

const UNET = join(import.meta.dirname, '../../../models/zoo/emoji-t2i/unet/model.onnx');
const DIMS = { sample: [1, 12, 16, 16], timestep: [1], encoder_hidden_states: [1, 16, 64] };

/** A copy that the runtime fuses with other neighbours than its original rounds differently: float32 noise. */
const RECOMPUTED_TOLERANCE = 1e-5;
/** Decimals of the ratio of two losses that differ by how the runtime fused the forward part. */
const LOSS_DIGITS = 5;
/** What the issue asks of gradients from 8-bit activations. */
const SMALLEST_COSINE = 0.99;

interface Prepared {
  readonly graph: Graph;
  readonly shapes: Shapes;
  readonly forwardCount: number;
  readonly gradients: ReadonlyMap<string, string>;
}

interface Unet extends Prepared {
  readonly weights: readonly string[];
  readonly feeds: ReadonlyMap<string, Tensor>;
}

function differentiated(graph: Graph, wrt: readonly string[], dims: Record<string, readonly number[]> = {}): Prepared {
  graph.outputs = [{ name: 'loss', type: 'float32', shape: [] }];
  foldConstants(graph, inferShapes(graph, dims));
  const shapes = inferShapes(graph, dims);
  const forwardCount = graph.nodes.length;
  const gradients = buildBackward(graph, shapes, { loss: 'loss', wrt });
  for (const [name, gradient] of gradients) {
    graph.outputs.push({ name: gradient, type: shapes.typeOf(name), shape: shapes.dimsOf(name) });
  }
  return { graph, shapes, forwardCount, gradients };
}

function unet(): Unet {
  const graph = readModel(readFileSync(UNET));
  const layers = graph.nodes.filter((layer) => ['Conv', 'Gemm', 'MatMul'].includes(layer.opType));
  const weights = [...new Set(layers.map((layer) => layer.inputs[1] ?? ''))].filter((name) =>
    graph.initializers.has(name),
  );
  const feeds = new Map<string, Tensor>([
    ...makeTrainable(graph, weights),
    ['sample', gaussianTensor(1, 1, DIMS.sample)],
    ['encoder_hidden_states', gaussianTensor(1, 2, DIMS.encoder_hidden_states)],
    ['timestep', int64([1], [123])],
  ]);
  appendMeanSquare(graph, graph.outputs[0]?.name ?? '');
  return { ...differentiated(graph, weights, DIMS), weights, feeds };
}

function lossOf(results: ReadonlyMap<string, Tensor>): number {
  return results.get('loss')?.data[0] as number;
}

function cosine(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let [dot, left, right] = [0, 0, 0];
  for (let index = 0; index < a.length; index += 1) {
    const [x, y] = [a[index] ?? 0, b[index] ?? 0];
    dot += x * y;
    left += x * x;
    right += y * y;
  }
  return dot / Math.sqrt(left * right);
}

/** A chain of `count` layers x → tanh(x · w). */
function chain(count: number): Graph {
  const graph = graphOf({ x: [64, 64], w: [64, 64] });
  for (let at = 0; at < count; at += 1) {
    const input = at === 0 ? 'x' : `y${at - 1}`;
    graph.insertNodes([
      node('MatMul', [input, 'w'], [`p${at}`], { name: `p${at}` }),
      node('Tanh', [`p${at}`], [`y${at}`], { name: `y${at}` }),
    ]);
  }
  appendMeanSquare(graph, `y${count - 1}`);
  return graph;
}

describe('saved activations of the zoo UNet', () => {
  let exact: Map<string, Tensor>;
  const gradient = (results: ReadonlyMap<string, Tensor>, of: Unet, weight: string) =>
    results.get(of.gradients.get(weight) ?? '')?.data as Float32Array;
  let reference: Unet;

  beforeAll(async () => {
    reference = unet();
    exact = await runGraph(reference.graph, reference.feeds);
  });

  it('recomputes blocks without changing the loss or any gradient', async () => {
    const again = unet();
    const blocks = recomputeBlocks(again.graph, again.shapes, again.forwardCount);
    expect(blocks).toBeGreaterThan(2);
    const convolutions = (graph: Graph) =>
      graph.nodes.filter(({ name, opType }) => opType === 'Conv' && !name.startsWith('grad')).length;
    expect(convolutions(again.graph)).toBeGreaterThan(convolutions(reference.graph));
    const results = await runGraph(again.graph, again.feeds);
    expect(lossOf(results) / lossOf(exact)).toBeCloseTo(1, LOSS_DIGITS);
    for (const weight of again.weights) {
      const [found, expected] = [gradient(results, again, weight), gradient(exact, reference, weight)];
      expect(maxAbsDifference(found, expected), weight).toBeLessThanOrEqual(RECOMPUTED_TOLERANCE * maxAbs(expected));
    }
  });

  it('recomputes bit for bit when the runtime fuses nothing', async () => {
    const plain = await runGraph(reference.graph, reference.feeds, 'disabled');
    const again = unet();
    recomputeBlocks(again.graph, again.shapes, again.forwardCount);
    const results = await runGraph(again.graph, again.feeds, 'disabled');
    for (const weight of again.weights) {
      const [found, expected] = [gradient(results, again, weight), gradient(plain, reference, weight)];
      expect(Buffer.compare(Buffer.from(found.buffer), Buffer.from(expected.buffer)), weight).toBe(0);
    }
  });

  it.each([
    ['8-bit activations', false],
    ['8-bit activations between recomputed blocks', true],
  ] as const)('keeps the direction of every gradient: %s', async (_, recompute) => {
    const saved = unet();
    const forward = saved.graph.nodes.slice(0, saved.forwardCount);
    if (recompute) recomputeBlocks(saved.graph, saved.shapes, saved.forwardCount);
    expect(saveInEightBits(saved.graph, saved.shapes, forward, saved.weights)).toBeGreaterThan(recompute ? 5 : 50);
    const results = await runGraph(saved.graph, saved.feeds);
    expect(lossOf(results) / lossOf(exact)).toBeCloseTo(1, LOSS_DIGITS);
    for (const weight of saved.weights) {
      const [found, expected] = [gradient(results, saved, weight), gradient(exact, reference, weight)];
      expect(cosine(found, expected), weight).toBeGreaterThan(SMALLEST_COSINE);
      // Not the same numbers: otherwise nothing was saved in 8 bits.
      if (!recompute && weight.includes('mid_block')) expect(maxAbsDifference(found, expected)).toBeGreaterThan(0);
    }
  });
});

describe('recomputeBlocks', () => {
  it('cuts a chain so that far fewer values wait for the backward part', () => {
    const { graph, shapes, forwardCount } = differentiated(chain(16), ['w']);
    const forward = new Set(graph.nodes.slice(0, forwardCount).flatMap(({ outputs }) => outputs));
    const waiting = () => {
      const read = graph.nodes.filter(({ outputs }) => !outputs.some((output) => forward.has(output)));
      return new Set(read.flatMap(({ inputs }) => inputs).filter((input) => /^y\d+$/.test(input) && forward.has(input)))
        .size;
    };
    const before = waiting();
    const blocks = recomputeBlocks(graph, shapes, forwardCount);
    expect(before).toBe(16);
    expect(blocks).toBeGreaterThanOrEqual(3);
    // What crosses the cuts, and the values of the last block.
    expect(waiting()).toBeLessThanOrEqual(blocks - 1 + Math.ceil(16 / blocks) + 1);
  });

  it('leaves a graph alone that is too small to be cut', () => {
    const { graph, shapes, forwardCount } = differentiated(chain(1), ['w']);
    const before = graph.nodes.length;
    expect(recomputeBlocks(graph, shapes, forwardCount)).toBe(1);
    expect(graph.nodes).toHaveLength(before);
  });
});

describe('saveInEightBits', () => {
  it('compares exact values: the mask of a clip is that of the float graph', async () => {
    const build = () => {
      const graph = graphOf({ x: [64, 128], w: [128] });
      graph.insertNodes([
        node('Mul', ['x', 'w'], ['scaled'], { name: 'scaled' }),
        node('Clip', ['scaled', 'low', 'high'], ['y'], { name: 'y' }),
        node('Mul', ['y', 'y'], ['square'], { name: 'square' }),
        node('ReduceMean', ['square'], ['mean'], { name: 'mean' }),
        node('Squeeze', ['mean'], ['loss'], { name: 'loss' }),
      ]);
      graph.addInitializer({
        name: 'low',
        type: 'float32',
        dims: [],
        raw: new Uint8Array(Float32Array.of(-0.5).buffer),
      });
      graph.addInitializer({
        name: 'high',
        type: 'float32',
        dims: [],
        raw: new Uint8Array(Float32Array.of(0.5).buffer),
      });
      return differentiated(graph, ['w']);
    };
    const feeds = new Map([
      ['x', gaussianTensor(1, 1, [64, 128])],
      ['w', gaussianTensor(1, 2, [128])],
    ]);
    const [exact, saved] = [build(), build()];
    const forward = saved.graph.nodes.slice(0, saved.forwardCount);
    expect(saveInEightBits(saved.graph, saved.shapes, forward, ['w'])).toBe(1);
    const name = exact.gradients.get('w') ?? '';
    const [expected, found] = [await runGraph(exact.graph, feeds), await runGraph(saved.graph, feeds)];
    expect(cosine(found.get(name)?.data as Float32Array, expected.get(name)?.data as Float32Array)).toBeGreaterThan(
      0.9999,
    );
  });
});
