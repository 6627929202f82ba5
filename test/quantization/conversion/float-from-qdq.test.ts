import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EngineExecutor } from '../../../activities/engine/engine-executor.js';
import { type RecipeInput, recipeSchema } from '../../../contracts/recipe.js';
import type { Graph } from '../../../models/onnx/graph.js';
import { writeModel } from '../../../models/onnx/model-proto.js';
import { inferShapes } from '../../../models/onnx/shape-inference.js';
import { denoiserDims } from '../../../models/pipelines/denoiser-dims.js';
import { denoiserFeeds } from '../../../models/pipelines/denoiser-feeds.js';
import { gaussianTensor } from '../../../models/tensors/random.js';
import { asFloat32, type Float32Tensor, type Tensor } from '../../../models/tensors/tensor.js';
import { ActivationObservers } from '../../../quantization/calibration/activation-observers.js';
import { addObservation, observations } from '../../../quantization/calibration/observations.js';
import { observationGraph, observedValues } from '../../../quantization/calibration/observe-batch.js';
import { convertDenoiser } from '../../../quantization/conversion/convert-denoiser.js';
import { floatFromQdq } from '../../../quantization/conversion/float-from-qdq.js';
import type { QuantizationPlan } from '../../../quantization/layer-plan.js';
import { planDenoiser, planningInputs } from '../../../quantization/plan-denoiser.js';
import { roundParameters } from '../../../quantization/rounding/round-parameters.js';
import { zooPipeline } from '../../zoo-pipeline.js';

const TIMESTEPS = [999, 499, 49];
const pipeline = zooPipeline();
let executor: EngineExecutor;
beforeAll(async () => {
  executor = await EngineExecutor.start({ device: 'cpu', threads: 1 });
});
afterAll(() => executor.close());

describe('a converted denoiser in float arithmetic', () => {
  const recipes: Record<string, RecipeInput> = {
    'dynamic ranges by group': {},
    'signed dynamic ranges per token, channel scales': {
      activations: { symmetric: true, groupSize: null },
      weights: { granularity: 'channel' },
    },
    'tables by timestep': { activations: { ranges: 'timestep', range: 'minmax' } },
    'a range per channel and timestep, probabilities in powers of two': {
      weights: { range: 'absmax' },
      activations: { ranges: 'timestep', range: 'minmax', granularity: 'channel' },
      attention: { bits: 4, probabilities: 'log2', keepFirstToken: true },
    },
    'static ranges of 6 bits': { activations: { ranges: 'static', bits: 6 }, weights: { bits: 6 } },
  };
  for (const [name, input] of Object.entries(recipes)) {
    it(`says what the file says: ${name}`, async () => {
      const converted = await convert(input);
      const dims = denoiserDims(pipeline, converted, 2);
      const lowered = floatFromQdq(converted, inferShapes(converted, dims));
      const operators = new Set(lowered.nodes.map(({ opType }) => opType));
      expect(operators.has('QuantizeLinear') || operators.has('DequantizeLinear') || operators.has('Round')).toBe(
        false,
      );
      // Both divide, round half to even and multiply in float32, so on one provider not a bit differs.
      expect(await run(lowered)).toEqual(await run(converted));
    });
  }
});

async function convert(input: RecipeInput): Promise<Graph> {
  const { graph, plan, shapes } = planDenoiser(pipeline, recipeSchema.parse(input));
  const observers = new ActivationObservers();
  const values = observedValues(plan);
  if (values.length > 0) await observe(graph, plan, values, observers);
  const parameters = await roundParameters({ graph, plan, observers, timesteps: TIMESTEPS });
  return convertDenoiser({ graph, shapes, plan, parameters, inputs: planningInputs(pipeline.denoiser) });
}

async function observe(
  graph: Graph,
  plan: QuantizationPlan,
  values: readonly string[],
  observers: ActivationObservers,
): Promise<void> {
  const observing = await executor.open(writeModel(observationGraph(graph, values)));
  for (const timestep of TIMESTEPS) {
    const fed = feeds(timestep);
    const found: Record<string, Tensor> = { ...fed, ...(await observing.run(fed)) };
    for (const one of observations(plan)) addObservation(observers, one, timestep, found[one.value] as Tensor);
  }
  await observing.release();
}

/** The denoiser's output at each timestep. */
async function run(graph: Graph): Promise<Float32Tensor[]> {
  const runnable = await executor.open(writeModel(graph));
  const { output } = pipeline.denoiser;
  const found: Float32Tensor[] = [];
  for (const timestep of TIMESTEPS) {
    found.push(asFloat32((await runnable.run(feeds(timestep), [output]))[output] as Tensor));
  }
  await runnable.release();
  return found;
}

function feeds(timestep: number) {
  const sample = gaussianTensor(3, timestep, [2, 12, 16, 16]);
  const conditioning = gaussianTensor(4, timestep, [2, 16, 64]);
  return denoiserFeeds(pipeline.denoiser, { sample, timestep, conditioning, classLabels: null });
}
