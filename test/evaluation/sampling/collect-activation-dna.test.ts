import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { EngineExecutor } from '../../../activities/engine/engine-executor.js';
import { recipeSchema } from '../../../contracts/recipe.js';
import { collectActivationDna, measureActivationDrift } from '../../../evaluation/sampling/collect-activation-dna.js';
import { type DenoiserPairs, feedsOfPairs, pairsByStep } from '../../../evaluation/sampling/denoiser-pairs.js';
import { activationHistogram, activationRanges, DNA_BINS } from '../../../evaluation/statistics/activation-dna.js';
import { binOf, histogramDistance } from '../../../evaluation/statistics/histogram-distance.js';
import { type Graph, initializerFromTensor } from '../../../models/onnx/graph.js';
import { writeModel } from '../../../models/onnx/model-proto.js';
import { tensorFromInitializer } from '../../../models/onnx/tensor-from-initializer.js';
import { gaussianTensor } from '../../../models/tensors/random.js';
import { float32, sliceRows } from '../../../models/tensors/tensor.js';
import { planDenoiser } from '../../../quantization/plan-denoiser.js';
import { bundledRecipe, convertZoo, prepareZoo, randomlyCalibrated } from '../../quantization/quantized-zoo.js';
import { zooPipeline } from '../../zoo-pipeline.js';
import { goldenFloat32 } from '../golden.js';

const pipeline = zooPipeline();
const { graph, plan } = planDenoiser(pipeline, recipeSchema.parse({ name: 'every-layer' }));
/** A quarter of the layers, of all kinds: a test of seconds. Of all 103, 102 drift further in 4 bits than in 8. */
const layers = plan.layers
  .filter((_, i) => i % 4 === 1)
  .map(({ name, output }) => ({ name, float: output, candidate: output }));

/** The golden start noise at two timesteps, with the golden prompts. */
function pairsOf(): DenoiserPairs {
  const samples = sliceRows(goldenFloat32('emoji-t2i/latents.npy'), 0, 4);
  return {
    triples: [0, 1, 2, 3].map((image) => ({ image, step: image % 2, branch: 0 })),
    timesteps: [999, 500],
    samples,
    outputs: samples,
    conditions: { conditioning: goldenFloat32('emoji-t2i/text_last_hidden_state.npy'), negative: null },
  };
}

/**
 * Bins that the average value may have moved: float32 division in the graph against float64 here, and kernels that sum in another
 * order when other outputs are asked for, put a few values on edges into the neighbouring bin.
 */
const EDGE = 0.02;

/** The network with noise on its convolutions, `share` of each weight's root mean square. */
function noisyConvolutions(share: number): Graph {
  const noisy = graph.clone();
  for (const [stream, initializer] of [...noisy.initializers.values()].entries()) {
    if (initializer.dims.length !== 4) continue;
    const weight = tensorFromInitializer(initializer).data as Float32Array;
    const size = Math.sqrt(weight.reduce((sum, value) => sum + value * value, 0) / weight.length);
    const noise = gaussianTensor(5, stream, [weight.length]).data;
    const moved = weight.map((value, i) => value + share * size * (noise[i] ?? 0));
    noisy.initializers.set(initializer.name, initializerFromTensor(initializer.name, float32(initializer.dims, moved)));
  }
  return noisy;
}

describe('histograms of activations', () => {
  let executor: EngineExecutor;
  const pairs = pairsOf();
  beforeAll(async () => {
    executor = await EngineExecutor.start({ device: 'cpu', threads: 1 });
  });
  afterAll(async () => {
    await executor.close();
  });

  test('counted by the engine are those of the activations themselves', async () => {
    const some = layers.filter((_, i) => i % 5 === 3);
    const ranges = activationRanges(
      some.map(() => -4),
      some.map(() => 4),
    );
    const values = some.map(({ float }) => float);
    const calls = { executor, pipeline, pairs, layers: some, rows: 3, onProgress: async () => undefined };
    const dna = await collectActivationDna(graph, values, ranges, calls);
    const outputs = graph.clone();
    outputs.outputs = values.map((name) => ({ name, type: 'float32', shape: null }));
    const runnable = await executor.open(writeModel(outputs));
    for (const [step, { indices }] of pairsByStep(pairs).entries()) {
      const found = await runnable.run(feedsOfPairs(pipeline, pairs, indices));
      for (const [layer, value] of values.entries()) {
        const own = new Float64Array(DNA_BINS);
        const data = found[value]?.data as Float32Array;
        for (const x of data) {
          const bin = binOf(x, ranges.low[layer] ?? 0, ranges.binWidth[layer] ?? 1, DNA_BINS);
          own[bin] = (own[bin] ?? 0) + 1;
        }
        const counted = activationHistogram(dna, layer, step);
        expect(counted.reduce((sum, count) => sum + count, 0)).toBe(data.length);
        expect(histogramDistance(counted, own, 1)).toBeLessThan(EDGE);
      }
    }
    await runnable.release();
  });

  test('do not drift in the same network, and drift more the more its weights are disturbed', async () => {
    const drift = async (share: number) => {
      const candidate = noisyConvolutions(share);
      const options = { executor, float: graph, candidate, pipeline, pairs, layers, rows: 2 };
      return measureActivationDrift(options);
    };
    const none = await drift(0);
    expect(none.layers.length).toBe(layers.length);
    expect(none.timesteps).toEqual([999, 500]);
    expect(none.errors.flat().every((value) => value === 0)).toBe(true);
    const mean = (errors: readonly (readonly number[])[]) =>
      errors.flat().reduce((sum, value) => sum + value, 0) / errors.flat().length;
    const little = mean((await drift(0.05)).errors);
    const much = mean((await drift(0.4)).errors);
    expect(little).toBeGreaterThan(0);
    expect(much).toBeGreaterThan(2 * little);
  });

  test('drift more in 4 bits than in 8, in nearly every layer that is quantized', async () => {
    const drift = async (bits: 4 | 8) => {
      const changes = { weights: { bits }, activations: { bits } };
      const prepared = prepareZoo(bundledRecipe('w4a4-dynamic', changes));
      const candidate = convertZoo(prepared, await randomlyCalibrated(executor, prepared, [999, 500]));
      const shared = layers.flatMap((layer) => {
        const output = candidate.nodeByName(plan.layers.find(({ name }) => name === layer.name)?.node ?? '')
          ?.outputs[0];
        return output === undefined ? [] : [{ ...layer, candidate: output }];
      });
      return measureActivationDrift({ executor, float: graph, candidate, pipeline, pairs, layers: shared, rows: 4 });
    };
    const [four, eight] = [await drift(4), await drift(8)];
    const names = four.layers.filter((name) => eight.layers.includes(name));
    expect(names.length).toBeGreaterThan(layers.length / 2);
    const mean = ({ layers: of, errors }: typeof four, name: string) =>
      (errors[of.indexOf(name)] ?? []).reduce((sum, value) => sum + value, 0) / 2;
    const worse = names.filter((name) => mean(four, name) > mean(eight, name));
    expect(worse.length / names.length).toBeGreaterThan(0.9);
  });
});
