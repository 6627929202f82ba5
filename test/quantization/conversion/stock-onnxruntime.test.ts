import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EngineExecutor } from '../../../activities/engine/engine-executor.js';
import type { RecipeInput } from '../../../contracts/recipe.js';
import type { Graph } from '../../../models/onnx/graph.js';
import { writeModel } from '../../../models/onnx/model-proto.js';
import { inferShapes } from '../../../models/onnx/shape-inference.js';
import { denoiserDims } from '../../../models/pipelines/denoiser-dims.js';
import { asFloat32, type Tensor } from '../../../models/tensors/tensor.js';
import { maxAbs, maxAbsDifference } from '../../models/autodiff/train-graph.js';
import { bundledRecipe, pipeline, prepareZoo, randomFeeds, randomlyCalibrated } from '../quantized-zoo.js';
import { type ConvertedZoo, convertedZoo, cutOut, dequantizerOf, elementScales } from './converted-zoo.js';
import { runStock } from './stock-onnxruntime.js';

/**
 * The converted file in a stock onnxruntime: default session options against disabled optimisations, piece by piece on equal
 * inputs. Two cuts hold every layer:
 *
 *   layer    quantized inputs and weight → the layer's output
 *   segment  everything between quantizers: Q/DQ → layer → norms, activations, additions → the next Q/DQ's value. This is
 *            where onnxruntime deletes, moves and fuses.
 */

/** Codes that may differ, by one: norms and products are summed in another order, and some values lie close to a tie. */
const CODE_SHARE = 1e-3;
/** Half a code more or less than one is another code. */
const ONE_CODE = 1.5;
/** Steps below this are float noise, not another code. */
const NOISE = 0.5;
/** Of the largest value: a few hundred float32 products in another order. Measured: below 1e-5. */
const SUMMATION_TOLERANCE = 5e-5;

const TIMESTEPS = [951, 501, 51];
const TIMESTEP = 501;

let executor: EngineExecutor;
beforeAll(async () => {
  executor = await EngineExecutor.start({ device: 'cpu', threads: 1 });
});
afterAll(() => executor.close());

function recipes(): Record<string, RecipeInput> {
  const found: Record<string, RecipeInput> = {};
  for (const [weight, activation] of [
    [4, 4],
    [8, 8],
    [4, 8],
    [6, 6],
  ] as const) {
    // How scales are found makes no other graph; these are the quick ways.
    const weights = { bits: weight, range: 'absmax' as const };
    const activations = { bits: activation, range: 'minmax' as const };
    const name = `W${weight}A${activation}`;
    found[`${name}, the default recipe`] = bundledRecipe('w4a4', { weights, activations });
    found[`${name}, ranges at run time`] = bundledRecipe('w4a4-dynamic', { weights, activations });
  }
  for (const bits of [4, 8]) {
    const weights = { bits, granularity: 'group' as const, range: 'absmax' as const };
    for (const ranges of ['timestep', 'static'] as const) {
      found[`W${bits}A${bits}, ${ranges} ranges, groups of weights`] = {
        weights,
        activations: { bits, ranges, range: 'minmax' },
      };
    }
    found[`W${bits}A${bits}, ranges at run time without groups, groups of weights`] = {
      weights,
      activations: { bits, ranges: 'dynamic', symmetric: true, groupSize: null },
    };
    found[`W${bits}A${bits}, ranges at run time and weights in groups of 16`] = {
      weights: { ...weights, groupSize: 16 },
      activations: { bits, ranges: 'dynamic', groupSize: 16 },
    };
    found[`W${bits}A${bits}, a range per channel and timestep, probabilities in powers of two`] = {
      weights: { ...weights, granularity: 'channel' },
      activations: { bits, ranges: 'timestep', range: 'minmax', granularity: 'channel' },
      attention: { bits, probabilities: 'log2', keepFirstToken: true },
    };
    found[`W${bits}A${bits}, groups of channels or pixels, probabilities in powers of the root of two`] = {
      weights: { ...weights, granularity: 'channel' },
      activations: { bits, ranges: 'timestep', range: 'minmax', grouping: { method: 'kmeans', fixedSize: true } },
      attention: { bits, probabilities: 'log-sqrt2', keepFirstToken: true },
    };
  }
  return found;
}

interface Piece {
  readonly target: string;
  readonly model: Graph;
}

/** What one quantized value is made of, from the values that other quantizers read; and the output of the network. */
function segments({ prepared, graph, shipped }: ConvertedZoo, values: Record<string, Tensor>): Piece[] {
  const raw = prepared.quantizers.map(({ value }) => shipped(value));
  const targets = prepared.quantizers.map(({ value, readers: [first] }) => ({
    own: shipped(value),
    target: graph.nodeByName(first?.node ?? '')?.inputs[first?.index ?? 0] ?? '',
  }));
  const all = [...targets, { own: '', target: pipeline.denoiser.output }];
  return all.map(({ own, target }) => {
    const from = new Set(raw.filter((value) => value !== own));
    return { target, model: cutOut(graph, target, from, values) };
  });
}

/** Every quantized layer; of those with equal nodes, dims and types the first one. */
function layers({ prepared, graph, shipped }: ConvertedZoo, values: Record<string, Tensor>): Piece[] {
  const from = new Set(prepared.quantizers.map(({ value }) => shipped(value)));
  const distinct = new Map<string, Piece>();
  for (const layer of quantizedLayers(prepared.plan.layers)) {
    const target = shipped(layer.output);
    const model = cutOut(graph, target, from, values);
    const kind = JSON.stringify([
      model.nodes.map(({ opType, attributes }) => [opType, ...attributes]),
      model.inputs.map(({ shape }) => shape),
      [...model.initializers.values()].map(({ type, dims }) => [type, dims]),
    ]);
    if (!distinct.has(kind)) distinct.set(kind, { target, model });
  }
  return [...distinct.values()];
}

function quantizedLayers<T extends { readonly skipped: string | null }>(all: readonly T[]): T[] {
  return all.filter((layer) => layer.skipped === null);
}

/** Everything that quantizers read, on one run of the converted denoiser exactly as written. */
async function rawValues({ prepared, graph, shipped }: ConvertedZoo): Promise<Record<string, Tensor>> {
  const exposed = graph.clone();
  const given = new Set([...graph.inputs, ...graph.outputs].map(({ name }) => name));
  const names = new Set(prepared.quantizers.map(({ value }) => shipped(value)).filter((name) => !given.has(name)));
  exposed.outputs = [...names].map((name) => ({ name, type: 'float32', shape: null }));
  const feeds = randomFeeds(TIMESTEP);
  const runnable = await executor.open(writeModel(exposed), { optimization: 'disabled' });
  const values = { ...feeds, ...(await runnable.run(feeds)) };
  await runnable.release();
  return values;
}

async function bothWays(
  { target, model }: Piece,
  values: Record<string, Tensor>,
): Promise<{ stock: Float32Array; written: Float32Array }> {
  const bytes = writeModel(model);
  const stock = await runStock(bytes, values, 'default');
  const written = await runStock(bytes, values, 'disabled');
  return { stock: asFloat32(stock[target] as Tensor).data, written: asFloat32(written[target] as Tensor).data };
}

/** The scales of a segment's last quantizer, element by element. */
async function stepsOf({ target, model }: Piece, values: Record<string, Tensor>, count: number): Promise<Float32Array> {
  const dequantizer = dequantizerOf(model, target);
  const [, scale = ''] = dequantizer.inputs;
  const exposed = model.clone();
  exposed.outputs = [{ name: scale, type: 'float32', shape: null }];
  const found = await runStock(writeModel(exposed), values, 'disabled');
  return elementScales(dequantizer, found[scale] as Tensor, count);
}

describe.each(Object.entries(recipes()))('%s', (_name, recipe) => {
  let converted: ConvertedZoo;
  let values: Record<string, Tensor>;
  beforeAll(async () => {
    const prepared = prepareZoo(recipe);
    converted = convertedZoo(prepared, await randomlyCalibrated(executor, prepared, TIMESTEPS));
    values = await rawValues(converted);
  });

  it('computes every layer alike', async () => {
    const pieces = layers(converted, values);
    expect(pieces.length).toBeGreaterThan(1);
    for (const piece of pieces) {
      const { stock, written } = await bothWays(piece, values);
      const worst = maxAbsDifference(stock, written) / maxAbs(written);
      expect({ target: piece.target, isAlike: worst <= SUMMATION_TOLERANCE, worst }).toMatchObject({ isAlike: true });
    }
  });

  it('finds the same codes between the layers, one apart at most on few', async () => {
    const covered = new Set<string>();
    for (const piece of segments(converted, values)) {
      for (const node of piece.model.nodes) covered.add(node.name);
      const { stock, written } = await bothWays(piece, values);
      if (piece.target === pipeline.denoiser.output) {
        expect(maxAbsDifference(stock, written)).toBeLessThanOrEqual(SUMMATION_TOLERANCE * maxAbs(written));
        continue;
      }
      // Scales are needed only where anything differs at all.
      if (maxAbsDifference(stock, written) <= SUMMATION_TOLERANCE * maxAbs(written)) continue;
      const steps = await stepsOf(piece, values, written.length);
      const apart = Array.from(stock, (value, at) => Math.abs(value - (written[at] ?? 0)) / (steps[at] ?? 0));
      const share = apart.filter((codes) => codes > NOISE).length / apart.length;
      const most = apart.reduce((worst, codes) => Math.max(worst, codes));
      const isAlike = most < ONE_CODE && share <= CODE_SHARE;
      expect({ target: piece.target, isAlike, most, share }).toMatchObject({ isAlike: true });
    }
    const missing = quantizedLayers(converted.prepared.plan.layers).filter(({ node }) => !covered.has(node));
    expect(missing).toEqual([]);
  });

  it('has no 8-bit value with the dims of a 4-bit one, whose memory the planner would give it', () => {
    const { graph } = converted;
    const shapes = inferShapes(graph, denoiserDims(pipeline, graph, 2));
    const dimsOf = (types: readonly string[]): Set<string> => {
      const outputs = graph.nodes.filter((node) => node.opType !== 'Reshape').flatMap((node) => node.outputs);
      const found = outputs.filter((output) => output !== '' && types.includes(shapes.typeOf(output)));
      return new Set(found.map((output) => shapes.dimsOf(output).join('×')));
    };
    const nibbles = dimsOf(['int4', 'uint4']);
    const bytes = dimsOf(['int8', 'uint8', 'bool']);
    expect([...nibbles].filter((dims) => bytes.has(dims))).toEqual([]);
    const hasNibbles = converted.prepared.quantizers.some(({ scheme }) => scheme.bits <= 4);
    expect(nibbles.size > 0).toBe(hasNibbles);
    expect(bytes.size).toBeGreaterThan(0);
  });
});
