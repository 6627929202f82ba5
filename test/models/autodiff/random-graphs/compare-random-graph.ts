import { elementCount, type Tensor } from '../../../../models/tensors/tensor.js';
import {
  analyticDerivative,
  type Differences,
  floatTensor,
  lossWeights,
  numericDerivative,
  signs,
} from '../central-differences.js';
import { appendWeightedSum, differentiate, openGraph, runGraph } from '../train-graph.js';
import { BLOCKS, inDomain } from './blocks.js';
import { GraphBuilder, type RandomValue } from './graph-builder.js';

/** The newest opset that onnxruntime 1.30 has kernels for. */
const OPSET = 24;

/** Larger values are not used as inputs of further nodes. */
const MOST_ELEMENTS = 48;

/**
 * A value that passed operators with slopes L_1 … L_k on its way and then meets one with radius ρ is analytic in a disk of
 * ρ / (L_1 ⋯ L_k) around the inputs; the smallest of these is the graph's radius R. With M a bound of |loss| the fifth derivative is
 * about 5!·M/R⁵ (Cauchy), so that the extrapolated difference with step ε·R is off by 4·ε⁴·M/R, and rounding adds u·M/(ε·R)
 * per node. float64 (u = 2⁻⁵³): ε = 2⁻⁹ gives 6e-11 and 6e-14. float32 (u = 2⁻²⁴): ε = 2⁻⁵ gives 4e-6 and 2e-6 per node. The tolerance is
 * a multiple of that for what the one-element bounds leave out (sums over elements, several nodes).
 */
const PRECISIONS = {
  float64: { share: 2 ** -9, tolerance: 1e-10 },
  float32: { share: 2 ** -5, tolerance: 1e-5 },
} as const;

/** One node of a random graph, with whatever its operator needs around it. */
export interface Step {
  readonly operator: string;
  /** Which earlier value is read. */
  readonly source: number;
  readonly choice: number;
}

interface Grown {
  readonly value: RandomValue;
  readonly slope: number;
}

/** Builds the graph and returns its outputs (every value that nothing reads) and its radius. */
function grow(b: GraphBuilder, plan: readonly Step[]) {
  const values: Grown[] = [
    { value: b.parameter([2, 3, 2]), slope: 1 },
    { value: b.parameter([3, 4]), slope: 1 },
  ];
  const read = new Set<string>();
  let radius = 1;
  for (const { operator, source, choice } of plan) {
    const block = BLOCKS[operator];
    const candidates = values.filter(({ value }) => elementCount(value.dims) <= MOST_ELEMENTS && value.dims.length > 0);
    const chosen = candidates.at(-1 - (source % candidates.length));
    if (block === undefined || chosen === undefined) throw new Error(`no block for ${operator}`);
    const value = block.apply(b, inDomain(block, b, chosen.value), choice);
    if (value.name === chosen.value.name) continue;
    read.add(chosen.value.name);
    radius = Math.min(radius, Math.min(block.radius, 1) / chosen.slope);
    values.push({ value, slope: chosen.slope * Math.max(1, block.slope) });
  }
  const outputs = values.slice(2).map(({ value }) => value.name);
  return { outputs: outputs.filter((name) => !read.has(name)), radius };
}

/** A derivative along a random direction, twice. */
export interface Comparison {
  readonly error: number;
  readonly tolerance: number;
  readonly derivative: number;
}

/** Builds the graph and compares; undefined when it computes nothing or a kink lies within the step. */
export async function compareRandomGraph(
  type: Differences['type'],
  plan: readonly Step[],
  seed: number,
): Promise<Comparison | undefined> {
  const b = new GraphBuilder(type, OPSET, seed);
  const { outputs, radius } = grow(b, plan);
  if (outputs.length === 0) return undefined;
  const weights = lossWeights(type, b.graph, outputs);
  const step = PRECISIONS[type].share * radius;
  const forward = b.graph.clone();
  forward.outputs = [...outputs, ...b.kinks].map((name) => ({ name, type, shape: null }));
  const session = await openGraph(forward, 'disabled');
  const names = [...b.feeds.keys()];
  const directions = new Map(
    names.map((name, stream) => [name, signs(seed + stream, b.feeds.get(name)?.data.length ?? 0)]),
  );
  const patterns = new Set<string>();
  let largest = 0;
  const lossAt = async (along: number) => {
    const results = await session.run(movedAll(b.feeds, directions, along, type));
    patterns.add(b.kinks.map((name) => signPattern(results.get(name))).join());
    const { loss, magnitude } = weightedSum(results, weights);
    largest = Math.max(largest, magnitude);
    return loss;
  };
  const numeric = await numericDerivative(lossAt, step);
  await session.release();
  if (patterns.size > 1) return undefined;

  appendWeightedSum(b.graph, weights);
  const wrt = names.filter((name) => reaches(b, name));
  const gradients = differentiate(b.graph, wrt);
  const results = await runGraph(b.graph, b.feeds, 'disabled');
  let derivative = 0;
  for (const name of wrt) {
    const values = results.get(gradients.get(name) ?? '')?.data as Float64Array;
    derivative += analyticDerivative(values, directions.get(name) ?? []).derivative;
  }
  const tolerance = (PRECISIONS[type].tolerance * Math.max(1, largest)) / radius;
  return { error: Math.abs(numeric - derivative), tolerance, derivative };
}

/** Whether the loss depends on a parameter: what nothing reads is not an error here. */
function reaches(b: GraphBuilder, parameter: string): boolean {
  return b.graph.consumersOf(parameter).length > 0;
}

function movedAll(
  feeds: ReadonlyMap<string, Tensor>,
  directions: ReadonlyMap<string, readonly number[]>,
  along: number,
  type: Differences['type'],
): Map<string, Tensor> {
  const moved = new Map<string, Tensor>();
  for (const [name, { dims, data }] of feeds) {
    const direction = directions.get(name) ?? [];
    const values = Float64Array.from(data as Float64Array, (value, at) => value + along * (direction[at] ?? 0));
    moved.set(name, floatTensor(type, dims, values));
  }
  return moved;
}

function signPattern(value: Tensor | undefined): string {
  return Array.from((value?.data ?? []) as Float64Array, (element) => (element > 0 ? '+' : '-')).join('');
}

function weightedSum(results: ReadonlyMap<string, Tensor>, weights: ReadonlyMap<string, Tensor>) {
  let [loss, magnitude] = [0, 0];
  for (const [name, weight] of weights) {
    const values = results.get(name)?.data as Float64Array;
    for (const [index, value] of values.entries()) {
      const term = value * (weight.data[index] as number);
      loss += term;
      magnitude += Math.abs(term);
    }
  }
  return { loss, magnitude };
}
