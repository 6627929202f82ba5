import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { type Recipe, type RecipeInput, recipeSchema } from '../../contracts/recipe.js';
import type { Executor } from '../../models/executor.js';
import type { Graph } from '../../models/onnx/graph.js';
import { writeModel } from '../../models/onnx/model-proto.js';
import { denoiserFeeds } from '../../models/pipelines/denoiser-feeds.js';
import { gaussianTensor } from '../../models/tensors/random.js';
import type { Tensor } from '../../models/tensors/tensor.js';
import { type ActivationQuantizer, activationQuantizers } from '../../quantization/activation-quantizers.js';
import { ActivationObservers } from '../../quantization/calibration/activation-observers.js';
import { addObservation, observations } from '../../quantization/calibration/observations.js';
import { observationGraph, observedValues } from '../../quantization/calibration/observe-batch.js';
import { convertDenoiser } from '../../quantization/conversion/convert-denoiser.js';
import { type PlannedDenoiser, planDenoiser, planningInputs } from '../../quantization/plan-denoiser.js';
import type { QuantizedParameters } from '../../quantization/quantized-parameters.js';
import { roundParameters } from '../../quantization/rounding/round-parameters.js';
import { zooPipeline } from '../zoo-pipeline.js';

/** The zoo's denoiser on its way through a recipe, without an activity around it. */

export const pipeline = zooPipeline();

/** What a built-in recipe file itself says. */
function recipeFile(name: string): RecipeInput {
  const file = new URL(`../../quantization/recipes/${name}.yaml`, import.meta.url);
  return parse(readFileSync(file, 'utf8')) as RecipeInput;
}

/** A built-in recipe with some settings changed: the default one, or that with ranges found at run time. */
export function bundledRecipe(
  name: 'w4a4' | 'w4a4-dynamic',
  changes: Pick<RecipeInput, 'weights' | 'activations'> = {},
): RecipeInput {
  const base = recipeFile('w4a4');
  const { weights, activations } = recipeFile(name);
  return {
    ...base,
    weights: { ...base.weights, ...weights, ...changes.weights },
    activations: { ...base.activations, ...activations, ...changes.activations },
  };
}

export interface PreparedZoo extends PlannedDenoiser {
  readonly recipe: Recipe;
  readonly quantizers: readonly ActivationQuantizer[];
}

export function prepareZoo(input: RecipeInput): PreparedZoo {
  const recipe = recipeSchema.parse(input);
  const planned = planDenoiser(pipeline, recipe);
  return { ...planned, recipe, quantizers: activationQuantizers(planned.plan) };
}

/** Denoiser feeds of two random samples. */
export function randomFeeds(timestep: number, rows = 2): Record<string, Tensor> {
  const sample = gaussianTensor(3, timestep, [rows, 12, 16, 16]);
  const conditioning = gaussianTensor(4, timestep, [rows, 16, 64]);
  return { ...denoiserFeeds(pipeline.denoiser, { sample, timestep, conditioning, classLabels: null }) };
}

/** Every value in `names`, in the float denoiser. */
export async function floatValues(
  executor: Executor,
  { graph }: PlannedDenoiser,
  names: readonly string[],
  timestep: number,
): Promise<Record<string, Tensor>> {
  const feeds = randomFeeds(timestep);
  const runnable = await executor.open(writeModel(observationGraph(graph, names)));
  const values = { ...feeds, ...(await runnable.run(feeds)) };
  await runnable.release();
  return values;
}

/** Round-to-nearest parameters; tables and static ranges from random samples at `timesteps`. */
export async function randomlyCalibrated(
  executor: Executor,
  prepared: PreparedZoo,
  timesteps: readonly number[],
): Promise<QuantizedParameters> {
  const observers = new ActivationObservers();
  const names = observedValues(prepared.plan);
  for (const timestep of names.length === 0 ? [] : timesteps) {
    const values = await floatValues(executor, prepared, names, timestep);
    for (const one of observations(prepared.plan))
      addObservation(observers, one, timestep, values[one.value] as Tensor);
  }
  return roundParameters({ graph: prepared.graph, plan: prepared.plan, observers, timesteps });
}

export function convertZoo({ graph, shapes, plan }: PlannedDenoiser, parameters: QuantizedParameters): Graph {
  return convertDenoiser({ graph, shapes, plan, parameters, inputs: planningInputs(pipeline.denoiser) });
}
