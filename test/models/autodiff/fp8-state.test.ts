import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { appendAdam, SMALLEST_FP8_STATE } from '../../../models/autodiff/adam.js';
import { FP8_GROUP, readFp8, writeFp8 } from '../../../models/autodiff/fp8-state.js';
import { StateWriter } from '../../../models/autodiff/state-writer.js';
import { attribute, Graph, node } from '../../../models/onnx/graph.js';
import { tensorFromNpy } from '../../../models/tensors/npy.js';
import { gaussianTensor } from '../../../models/tensors/random.js';
import { elementCount, float32, type Tensor, zeros } from '../../../models/tensors/tensor.js';
import { differentiate, graphOf, openGraph, runGraph } from './train-graph.js';

const GROUPS = 64;
/** float32 logarithms and exponentials against doubles: a relative 1e-5 at |ln| ≤ 90. */
const ARITHMETIC_TOLERANCE = 1e-4;

/** The number of each code, from onnx's own table (golden README). */
const E4M3 = tensorFromNpy(readFileSync(join(import.meta.dirname, '../../golden/formats/codes_e4m3fn.npy')))
  .data as Float32Array;

function e4m3(code: number): number {
  return E4M3[code] ?? Number.NaN;
}

const POSITIVE = Array.from({ length: 127 }, (_, code) => e4m3(code));

function nearestE4m3(value: number): number {
  const magnitude = POSITIVE.reduce((best, each) =>
    Math.abs(each - Math.abs(value)) < Math.abs(best - Math.abs(value)) ? each : best,
  );
  return Math.sign(value) * magnitude;
}

/** Plain E4M3: the group's largest magnitude becomes 448. */
function plain(values: Float32Array): Float64Array {
  const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  return Float64Array.from(values, (value) => (nearestE4m3((448 * value) / largest) * largest) / 448);
}

/** Writes a value as state and reads it back, in one graph each. */
async function throughState(
  value: Tensor<'float32'>,
  offset: number,
): Promise<{ codes: Uint8Array; read: Float32Array }> {
  const storing = graphOf({ x: value.dims });
  const write = new StateWriter(storing);
  const offsets = write.constant('u', float32([FP8_GROUP], new Float32Array(FP8_GROUP).fill(offset)));
  writeFp8(write, 's', 'x', value.dims, offsets);
  storing.insertNodes(write.nodes);
  const stored = await runGraph(storing, new Map([['x', value]]));
  const reading = new Graph();
  reading.opset = 17;
  const read = new StateWriter(reading);
  const result = readFp8(read, 's', value.dims);
  reading.insertNodes(read.nodes);
  reading.outputs = [{ name: result, type: 'float32', shape: value.dims }];
  const feeds = new Map(['s', 's.max', 's.power'].map((name) => [name, stored.get(`${name}.next`) as Tensor] as const));
  const results = await runGraph(reading, feeds);
  return { codes: feeds.get('s')?.data as Uint8Array, read: results.get(result)?.data as Float32Array };
}

function squaredError(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let index = 0; index < a.length; index += 1) sum += ((a[index] ?? 0) - (b[index] ?? 0)) ** 2;
  return sum;
}

function groupsOf(values: Float32Array): Float32Array[] {
  return Array.from({ length: values.length / FP8_GROUP }, (_, at) =>
    values.slice(at * FP8_GROUP, (at + 1) * FP8_GROUP),
  );
}

describe('FP8 optimizer state', () => {
  it('has codes that read as the numbers of E4M3, expanded', async () => {
    const x = gaussianTensor(3, 1, [GROUPS, FP8_GROUP]);
    const { codes, read } = await throughState(x, 0.5);
    for (const [group, values] of groupsOf(x.data).entries()) {
      const magnitudes = Array.from(values, Math.abs);
      const [largest, smallest] = [Math.max(...magnitudes), Math.min(...magnitudes)];
      const k = Math.log(448 / 2 ** -9) / Math.log(largest / smallest);
      for (const [at, value] of values.entries()) {
        const index = group * FP8_GROUP + at;
        const number = e4m3(codes[index] ?? 0);
        const restored = Math.sign(number) * largest * (Math.abs(number) / 448) ** (1 / k);
        expect(Math.abs((read[index] ?? 0) - restored)).toBeLessThan(ARITHMETIC_TOLERANCE * Math.abs(restored));
        // The nearest number, or its neighbour where the expanded value lies between two.
        const expanded = 448 * (Math.abs(value) / largest) ** k;
        const step = 2 ** (Math.max(Math.floor(Math.log2(expanded)), -6) - 3);
        expect(Math.abs(Math.abs(number) - expanded)).toBeLessThan((0.5 + 10 * ARITHMETIC_TOLERANCE) * step);
      }
    }
  });

  it('errs less than plain E4M3 in every group of a first moment', async () => {
    const x = gaussianTensor(3, 2, [GROUPS, FP8_GROUP]);
    const { read } = await throughState(x, 0.5);
    const expanded = groupsOf(read);
    for (const [group, values] of groupsOf(x.data).entries()) {
      const error = squaredError(expanded[group] ?? [], values);
      expect(error).toBeLessThan(squaredError(plain(values), values));
    }
  });

  it('keeps second moments of a wide range above zero, where plain E4M3 loses some', async () => {
    const wide = float32(
      [GROUPS, FP8_GROUP],
      gaussianTensor(3, 3, [GROUPS, FP8_GROUP]).data.map((g) => 1e-6 * g ** 4),
    );
    const { read } = await throughState(wide, 0.5);
    const lost = groupsOf(wide.data)
      .flatMap((values) => Array.from(plain(values)))
      .filter((value) => value === 0);
    expect(lost.length).toBeGreaterThan(0);
    expect(Math.min(...read)).toBeGreaterThan(0);
  });

  it('reads zeros, equal numbers and a group that is not full as they were', async () => {
    const x = float32([3, 100], new Float32Array(300).fill(0).fill(0.25, 130, 300));
    const { read } = await throughState(x, 0.5);
    expect(squaredError(read, x.data)).toBeLessThan(1e-10);
    expect(read.slice(0, 130).every((value) => value === 0)).toBe(true);
  });

  it('lets a second moment grow although a step changes it by less than a code', async () => {
    const dims = [8, FP8_GROUP];
    const graph = graphOf({ p: dims, g: dims });
    const names = appendAdam(graph, [{ name: 'p', gradient: 'g', dims, learningRate: 'rate' }], { state: 'fp8' });
    graph.outputs.push({ name: 'p.v.new', type: 'float32', shape: dims });
    const session = await openGraph(graph);
    const state = names.parameters.get('p')?.state ?? new Map<string, string>();
    const feeds = new Map<string, Tensor>([
      ['p', zeros('float32', dims)],
      [
        'g',
        float32(
          dims,
          gaussianTensor(1, 1, dims).data.map((value) => 1 + 0.5 * Math.tanh(value)),
        ),
      ],
      ['rate', float32([], [0])],
    ]);
    for (const input of graph.inputs) {
      if (state.has(input.name)) feeds.set(input.name, zeros(input.type as 'uint8', (input.shape ?? []).map(Number)));
    }
    let moment: Tensor | undefined;
    for (let step = 1; step <= STEPS; step += 1) {
      const results = await session.run(feeds.set(names.step, float32([], [step])));
      for (const [input, output] of state) feeds.set(input, results.get(output) as Tensor);
      moment = results.get('p.v.new');
    }
    await session.release();
    const grown = 1 - 0.999 ** STEPS;
    const g = feeds.get('g')?.data as Float32Array;
    const ratios = Array.from(moment?.data as Float32Array, (v, at) => v / (grown * (g[at] ?? 1) ** 2));
    const mean = ratios.reduce((sum, ratio) => sum + ratio, 0) / ratios.length;
    expect(Math.abs(mean - 1)).toBeLessThan(MEAN_TOLERANCE);
    expect(Math.max(...ratios.map((ratio) => Math.abs(ratio - 1)))).toBeLessThan(CODE_TOLERANCE);
  });

  it('trains alike', async () => {
    const [exact, eight] = [await trained('float32'), await trained('fp8')];
    expect(exact.last).toBeLessThan(exact.first * 0.02);
    expect(eight.first).toBe(exact.first);
    expect(eight.last).toBeLessThan(exact.first * 0.02);
    expect(eight.stateBytes).toBeLessThan(exact.stateBytes * 0.28);
  });
});

/** Rounding to nearest would leave v at 2 to 3 % of its value after these steps. */
const STEPS = 300;
/** Unbiased rounding: the mean of 1024 moments, each within one code. */
const MEAN_TOLERANCE = 0.03;
/** A moment wanders by a few codes of 6 to 12 %. */
const CODE_TOLERANCE = 0.5;

const TRAINING_STEPS = 200;

/** Least squares: x · w → y for a w that is known, by Adam. */
async function trained(state: 'float32' | 'fp8'): Promise<{ first: number; last: number; stateBytes: number }> {
  const dims = [32, 64];
  expect(elementCount(dims)).toBeGreaterThanOrEqual(SMALLEST_FP8_STATE);
  const graph = graphOf({ x: [128, 32], y: [128, 64], w: dims });
  graph.insertNodes([
    node('MatMul', ['x', 'w'], ['found'], { name: 'found' }),
    node('Sub', ['found', 'y'], ['difference'], { name: 'difference' }),
    node('Mul', ['difference', 'difference'], ['square'], { name: 'square' }),
    node('ReduceMean', ['square'], ['loss'], { name: 'loss', attributes: { keepdims: attribute.int(0) } }),
  ]);
  const gradient = differentiate(graph, ['w']).get('w') ?? '';
  const names = appendAdam(graph, [{ name: 'w', gradient, dims, learningRate: 'rate' }], { state });
  const updates = new Map([['w', 'w.next'], ...(names.parameters.get('w')?.state ?? [])]);
  const x = gaussianTensor(5, 1, [128, 32]);
  const target = graphOf({ x: [128, 32], w: dims });
  target.insertNodes([node('MatMul', ['x', 'w'], ['y'], { name: 'y' })]);
  target.outputs = [{ name: 'y', type: 'float32', shape: [128, 64] }];
  const made = await runGraph(
    target,
    new Map([
      ['x', x],
      ['w', gaussianTensor(5, 2, dims)],
    ]),
  );
  const feeds = new Map<string, Tensor>([
    ['x', x],
    ['y', made.get('y') as Tensor],
    ['w', zeros('float32', dims)],
  ]);
  let stateBytes = 0;
  for (const { name, type, shape } of graph.inputs) {
    if (name === 'w' || !updates.has(name)) continue;
    const zero = zeros(type as 'uint8', (shape ?? []).map(Number));
    stateBytes += zero.data.byteLength;
    feeds.set(name, zero);
  }
  const session = await openGraph(graph);
  const losses: number[] = [];
  for (let step = 1; step <= TRAINING_STEPS; step += 1) {
    feeds.set(names.step, float32([], [step])).set('rate', float32([], [0.05 * (1 - step / TRAINING_STEPS) + 1e-3]));
    const results = await session.run(feeds);
    losses.push(results.get('loss')?.data[0] as number);
    for (const [input, output] of updates) feeds.set(input, results.get(output) as Tensor);
  }
  await session.release();
  return { first: losses[0] ?? Number.NaN, last: losses.at(-1) ?? Number.NaN, stateBytes };
}
