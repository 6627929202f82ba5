import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { unsupportedOperators } from '../../../models/autodiff/build-backward.js';
import { makeTrainable } from '../../../models/autodiff/trainable-inputs.js';
import { attribute, type Graph, node } from '../../../models/onnx/graph.js';
import { readModel } from '../../../models/onnx/model-proto.js';
import { gaussianTensor } from '../../../models/tensors/random.js';
import { float32, int64, type Tensor, tensor } from '../../../models/tensors/tensor.js';
import { analyticDerivative, numericDerivative } from './central-differences.js';
import { addConstant, differentiate, openGraph, runGraph } from './train-graph.js';

const PIPELINES = join(import.meta.dirname, '../../golden/pipelines');

/** Random directions over all parameters of a model. */
const DIRECTIONS = 3;

/**
 * A random direction moves every parameter by about this share of its tensor's root mean square. A mean over n float32 outputs,
 * each within 1e-6 of exact, is known to 1e-6/√n ≈ 3e-8, so the derivative to 3e-8/STEP ≈ 6e-5. Truncation is STEP⁴ times the fifth
 * derivative, and random time embeddings bend sharply (with 2⁻⁹ the DiT was off by 5 %).
 */
const STEP = 2 ** -11;
/** Of the derivative's standard deviation over random directions. */
const TOLERANCE = 1e-3;

/** In the balanced direction every tensor changes the loss by an equal share of this: a wrong one of 200 is off by 5e-3. */
const LOSS_CHANGE = 8e-3;
/** No tensor moves by more than this share of its root mean square, so that vanishing gradients do not ask for leaps. */
const LARGEST_MOVE = 0.02;
/** Rounding, 3e-8 of LOSS_CHANGE, is 4e-6; the rest is curvature. */
const BALANCED_TOLERANCE = 3e-4;

interface ModelCase {
  readonly path: string;
  readonly dims: Readonly<Record<string, readonly number[]>>;
  /** Largest value of integer inputs. */
  readonly integers?: number;
  /** The loss is mean((output − target)²). Not 0 where a normalization ends the model: its mean square hardly changes. */
  readonly target?: number;
  /** Parameters that the output does not depend on: their gradients are 0. */
  readonly idle?: readonly string[];
}

const TEXT_INPUTS = { encoder_hidden_states: [2, 5, 16], pooled_projections: [2, 16], timestep: [2] };
const SD3_INPUTS = { ...TEXT_INPUTS, hidden_states: [2, 4, 8, 8] };

const MODELS: readonly ModelCase[] = [
  { path: 'ddpm_uncond/unet', dims: { sample: [2, 3, 16, 16], timestep: [2] }, integers: 999 },
  { path: 'ddpm_uncond_dynamo/unet', dims: { sample: [2, 3, 16, 16], timestep: [2] }, integers: 999 },
  {
    path: 'dit_class/transformer',
    dims: { hidden_states: [2, 4, 8, 8], timestep: [2], class_labels: [2] },
    integers: 9,
  },
  { path: 'dit_class/vae_decoder', dims: { latent_sample: [2, 4, 8, 8] } },
  {
    path: 'sit_flow/transformer',
    dims: { hidden_states: [2, 3, 16, 16], timestep: [2], class_labels: [2] },
    integers: 5,
  },
  {
    path: 'sd_text2img/unet',
    dims: { sample: [2, 4, 8, 8], timestep: [1], encoder_hidden_states: [2, 16, 32] },
    integers: 999,
  },
  { path: 'sd_text2img/text_encoder', dims: { input_ids: [2, 16] }, integers: 90, target: 1 },
  { path: 'sd_text2img/vae_decoder', dims: { latent_sample: [2, 4, 8, 8] } },
  // SD3 and Flux transformers of diffusers 0.42.1 with random weights, exported by torch 2.15 (its legacy exporter has no RMSNorm for Flux).
  {
    path: '../exports/sd3/transformer',
    dims: SD3_INPUTS,
    // The last block throws its text tokens away, so their queries change nothing.
    idle: ['m.transformer_blocks.1.attn.add_q_proj.weight', 'm.transformer_blocks.1.attn.add_q_proj.bias'],
  },
  {
    path: '../exports/sd3_dynamo/transformer',
    dims: SD3_INPUTS,
    // The same; val_367 is the transposed weight.
    idle: ['m.transformer_blocks.1.attn.add_q_proj.bias', 'val_367'],
  },
  {
    path: '../exports/flux_dynamo/transformer',
    dims: {
      ...TEXT_INPUTS,
      hidden_states: [2, 16, 8],
      img_ids: [16, 3],
      txt_ids: [5, 3],
      guidance: [2],
    },
  },
];

function readCase(path: string): Graph {
  const folder = join(PIPELINES, path);
  return readModel(readFileSync(join(folder, 'model.onnx')), {
    external: (location, offset, length) => readFileSync(join(folder, location)).subarray(offset, offset + length),
  });
}

function inputsOf(graph: Graph, { dims, integers = 1 }: ModelCase): Map<string, Tensor> {
  return new Map(
    graph.inputs.map(({ name, type }, stream): [string, Tensor] => {
      const shape = dims[name] ?? [];
      const values = gaussianTensor(21, stream, shape);
      const counts = Array.from(values.data, (value) => Math.floor(Math.abs(value) * 1000) % (integers + 1));
      if (type === 'int64') return [name, int64(shape, counts)];
      if (type === 'int32') return [name, tensor('int32', shape, Int32Array.from(counts))];
      return [name, values];
    }),
  );
}

/** Float parameters of the module, and matrices: weights that the dynamo exporter renamed. Its other constants are no parameters. */
function parametersOf(graph: Graph): string[] {
  const floats = [...graph.initializers.values()].filter(({ type }) => type === 'float32');
  const isMatrix = (dims: readonly number[]) => dims.length >= 2 && dims.every((dim) => dim > 1);
  return floats.filter(({ name, dims }) => name.includes('.') || isMatrix(dims)).map(({ name }) => name);
}

/** Appends `loss`, the sum over outputs of mean((output − target)²). */
function appendLoss(graph: Graph, target: number): void {
  addConstant(graph, 'target', float32([], [target]));
  const keepdims = attribute.int(0);
  const parts = graph.outputs.map(({ name }) => {
    graph.insertNodes([
      node('Sub', [name, 'target'], [`${name}.error`], { name: `${name}.error` }),
      node('Mul', [`${name}.error`, `${name}.error`], [`${name}.square`], { name: `${name}.square` }),
      node('ReduceMean', [`${name}.square`], [`${name}.mean`], { name: `${name}.mean`, attributes: { keepdims } }),
    ]);
    return `${name}.mean`;
  });
  graph.insertNodes([node('Sum', parts, ['loss'], { name: 'loss' })]);
}

type Direction = ReadonlyMap<string, Float64Array>;

/** A model with its parameters as inputs: gradients once, then losses along directions, summed in double precision. */
async function openModel(model: ModelCase) {
  const graph = readCase(model.path);
  const feeds = inputsOf(graph, model);
  const parameters = parametersOf(graph);
  for (const [name, value] of makeTrainable(graph, parameters)) feeds.set(name, value);
  const target = model.target ?? 0;
  const forward = await openGraph(graph, 'disabled');
  appendLoss(graph, target);
  expect(unsupportedOperators(graph, 'loss', parameters)).toEqual([]);
  const names = differentiate(graph, parameters, model.dims);
  const results = await runGraph(graph, feeds, 'disabled');
  const valuesOf = (name: string) => feeds.get(name)?.data as Float32Array;
  const lossAlong = (direction: Direction) => async (step: number) => {
    const moved = new Map(feeds);
    for (const [name, values] of direction) {
      const to = valuesOf(name).map((value, at) => value + step * (values[at] ?? 0));
      moved.set(name, float32(feeds.get(name)?.dims ?? [], to));
    }
    return [...(await forward.run(moved)).values()].reduce((sum, output) => sum + meanSquare(output, target), 0);
  };
  return {
    parameters,
    loss: results.get('loss')?.data[0] as number,
    gradientOf: (name: string) => results.get(names.get(name) ?? '')?.data as Float32Array,
    sizeOf: (name: string) => Math.sqrt(meanSquare({ data: valuesOf(name) }, 0)),
    lossAlong,
    release: forward.release,
  };
}

function meanSquare({ data }: Pick<Tensor, 'data'>, target: number): number {
  const values = data as Float32Array;
  return values.reduce((sum, value) => sum + (value - target) ** 2, 0) / values.length;
}

type OpenModel = Awaited<ReturnType<typeof openModel>>;

async function checkRandomDirection({ parameters, gradientOf, sizeOf, lossAlong }: OpenModel, seed: number) {
  let [derivative, variance] = [0, 0];
  const direction = new Map<string, Float64Array>();
  for (const [stream, name] of parameters.entries()) {
    const size = sizeOf(name);
    const gradient = gradientOf(name);
    const values = Float64Array.from(gaussianTensor(seed, stream, [gradient.length]).data, (value) => value * size);
    direction.set(name, values);
    derivative += analyticDerivative(gradient, values).derivative;
    variance += gradient.reduce((sum, value) => sum + (value * size) ** 2, 0);
  }
  const numeric = await numericDerivative(lossAlong(direction), STEP);
  expect(variance).toBeGreaterThan(0);
  expect(Math.abs(numeric - derivative)).toBeLessThan(TOLERANCE * Math.sqrt(variance));
}

/** Every tensor moves along its own gradient, by as much as its equal share of the change asks for. */
async function checkBalancedDirection({
  parameters,
  loss,
  gradientOf,
  sizeOf,
  lossAlong,
}: OpenModel): Promise<string[]> {
  let expected = 0;
  const still: string[] = [];
  const direction = new Map<string, Float64Array>();
  for (const name of parameters) {
    const gradient = gradientOf(name);
    const norm = Math.sqrt(gradient.reduce((sum, value) => sum + value * value, 0));
    if (norm === 0) {
      still.push(name);
      continue;
    }
    const wanted = (LOSS_CHANGE * loss) / parameters.length / norm ** 2;
    const largest = (LARGEST_MOVE * sizeOf(name) * Math.sqrt(gradient.length)) / norm;
    const factor = Math.min(wanted, largest);
    direction.set(
      name,
      Float64Array.from(gradient, (value) => value * factor),
    );
    expected += factor * norm ** 2;
  }
  const numeric = await numericDerivative(lossAlong(direction), 0.5);
  expect(expected).toBeGreaterThan(0);
  expect(Math.abs(numeric / expected - 1)).toBeLessThan(BALANCED_TOLERANCE);
  return still;
}

describe('whole models', () => {
  it.each(MODELS.map((model) => [model.path, model] as const))(
    '%s has the directional derivatives that central differences see',
    async (_, model) => {
      const opened = await openModel(model);
      for (let index = 0; index < DIRECTIONS; index += 1) await checkRandomDirection(opened, 31 + index);
      // A gradient of exactly 0 would be one that a rule lost.
      expect(await checkBalancedDirection(opened)).toEqual(model.idle ?? []);
      await opened.release();
    },
  );
});
