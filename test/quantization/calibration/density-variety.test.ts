import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EngineExecutor } from '../../../activities/engine/engine-executor.js';
import { writeModel } from '../../../models/onnx/model-proto.js';
import { encodeConditions } from '../../../models/pipelines/encode-conditions.js';
import { sampleLatents } from '../../../models/pipelines/sample-latents.js';
import { startNoise } from '../../../models/pipelines/start-noise.js';
import { createSampler } from '../../../models/samplers/create-sampler.js';
import { type Float32Tensor, float32 } from '../../../models/tensors/tensor.js';
import { allottedPairs } from '../../../quantization/calibration/allotted-pairs.js';
import { allotSteps, countsFor } from '../../../quantization/calibration/density-variety.js';
import { middleAttention } from '../../../quantization/calibration/middle-attention.js';
import { recordFeatures } from '../../../quantization/calibration/record-features.js';
import { transformDenoiser } from '../../../quantization/transforms/transform-denoiser.js';
import { pipeline } from '../quantized-zoo.js';
import { GUIDANCE, promptSets } from '../zoo-calibration.js';

/** float64 sums of a few float32 numbers, in another order. */
const ROUNDING = 1e-9;

/** [rows, tokens, channels] with one number per step. */
function feature(values: readonly number[]): Float32Tensor {
  return float32([1, 2, values.length / 2], values);
}

describe('allotSteps', () => {
  it('counts look-alikes within the radius, and adds up cosine distances over channels', async () => {
    const features = [feature([1, 0, 0, 2]), feature([1.1, 0, 0, 2]), feature([0, 3, 3, 0])];
    const { density, variety } = await allotSteps({
      features,
      channelAxis: 2,
      radius: 0.01,
      varietyWeight: 1,
      samples: 10,
    });
    expect(density).toEqual([1, 1, 0]);
    for (const [step, expected] of [1, 1, 2].entries())
      expect(Math.abs((variety[step] ?? 0) - expected)).toBeLessThan(ROUNDING);
  });

  it('reads channels along the axis it is told: images and tokens of the same numbers agree', async () => {
    const tokens = [float32([1, 2, 3], [1, 2, 3, 4, 5, 6]), float32([1, 2, 3], [3, 1, 2, 6, 5, 5])];
    const images = tokens.map(({ data }) =>
      float32(
        [1, 3, 2],
        [0, 3, 1, 4, 2, 5].map((at) => data[at] ?? 0),
      ),
    );
    const options = { radius: 1, varietyWeight: 1, samples: 4 };
    const left = (await allotSteps({ ...options, features: tokens, channelAxis: 2 })).variety;
    const right = (await allotSteps({ ...options, features: images, channelAxis: 1 })).variety;
    expect(Math.abs((left[0] ?? 0) - (right[0] ?? 1))).toBeLessThan(ROUNDING);
    expect(left[0]).toBeGreaterThan(0);
  });

  it('gives every step as many when all are alike', async () => {
    const features = new Array<Float32Tensor>(4).fill(feature([1, 2, 3, 4]));
    expect((await allotSteps({ features, channelAxis: -1, radius: 1, varietyWeight: 1, samples: 10 })).counts).toEqual([
      2, 2, 3, 3,
    ]);
  });
});

describe('countsFor', () => {
  it('gives whole counts that add up exactly, in the order of the weights', async () => {
    const weights = fc.array(fc.double({ min: 0, max: 5, noNaN: true }), { minLength: 1, maxLength: 40 });
    fc.assert(
      fc.property(weights, fc.integer({ min: 0, max: 2000 }), (given, samples) => {
        const counts = countsFor(given, samples);
        expect(counts.reduce((sum, count) => sum + count, 0)).toBe(samples);
        for (const count of counts) expect(Number.isInteger(count) && count >= 0).toBe(true);
        for (const [a, first] of given.entries()) {
          for (const [b, second] of given.entries()) {
            if (first > second) expect((counts[a] ?? 0) + 1).toBeGreaterThanOrEqual(counts[b] ?? 0);
          }
        }
      }),
      { numRuns: 300, seed: 5 },
    );
  });
});

describe('allottedPairs', () => {
  it('reads every trajectory at most once, each step as often as it counts', async () => {
    const pairs = allottedPairs([2, 0, 3], 8, 1);
    expect(pairs.map(({ step }) => step)).toEqual([0, 0, 2, 2, 2]);
    expect(new Set(pairs.map(({ trajectory }) => trajectory)).size).toBe(5);
    expect(() => allottedPairs([5, 4], 8, 1)).toThrow(/9 samples/);
  });
});

describe('on the zoo denoiser', () => {
  let executor: EngineExecutor;
  let features: Float32Tensor[];
  const found = (() => {
    const { graph, shapes } = transformDenoiser(pipeline, []);
    return { graph, shapes, input: middleAttention(graph, shapes) };
  })();
  beforeAll(async () => {
    executor = await EngineExecutor.start({ device: 'cpu', threads: 1 });
    const { graph, input } = found;
    if (input === null) throw new Error('no attention');
    graph.outputs.push({ name: input.value, type: 'float32', shape: null });
    const denoiser = await executor.open(writeModel(graph));
    const conditions = await encodeConditions(executor, pipeline, promptSets(4, 2).calibration, GUIDANCE);
    const sampler = createSampler(pipeline.schedulerConfig, 20);
    const walking = { pipeline, sampler, guidance: GUIDANCE, latents: startNoise(pipeline, 1, 0, 4), ...conditions };
    features = await recordFeatures(denoiser, input.value, (one) => sampleLatents({ ...walking, denoiser: one }));
    await denoiser.release();
  });
  afterAll(() => executor.close());

  it('finds the middle block’s self-attention by structure', async () => {
    const { graph, shapes, input } = found;
    const reader = graph.nodes.find((node) => input !== null && node.inputs.includes(input.value));
    expect(reader?.name).toContain('mid_block');
    expect(reader?.name).toContain('attn1');
    expect(shapes.dimsOf(input?.value ?? '')).toEqual([2, 64, 128]);
  });

  const allot = async (varietyWeight: number) => {
    const channelAxis = found.input?.channelAxis ?? -1;
    return await allotSteps({ features, channelAxis, radius: 0.3, varietyWeight, samples: 256 });
  };
  const share = (counts: readonly number[], from: number, to: number): number =>
    counts.slice(from, to).reduce((sum, count) => sum + count, 0) / counts.reduce((sum, count) => sum + count, 0);

  it('gives all samples away: density alone to steps in the middle, a large variety weight to the odd ones at both ends', async () => {
    expect(features).toHaveLength(20);
    const [dense, middle, odd] = [await allot(0), await allot(1), await allot(1000)];
    for (const { counts } of [dense, middle, odd]) expect(counts.reduce((sum, count) => sum + count, 0)).toBe(256);
    const ends = ({ counts }: { readonly counts: readonly number[] }): number =>
      share(counts, 0, 4) + share(counts, 19, 20);
    expect(ends(dense)).toBeLessThan(0.15);
    expect(ends(odd)).toBeGreaterThan(0.4);
    expect(share(odd.counts, 0, 4)).toBeGreaterThan(2 * share(dense.counts, 0, 4));
  });
});
