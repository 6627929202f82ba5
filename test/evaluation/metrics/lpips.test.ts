import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { EngineExecutor } from '../../../activities/engine/engine-executor.js';
import { parseExtractorSpec } from '../../../evaluation/features/extractor-spec.js';
import { withLayerOutputs } from '../../../evaluation/features/layer-outputs.js';
import type { PictureSource } from '../../../evaluation/features/picture-source.js';
import type { Images } from '../../../evaluation/metrics/image-pairs.js';
import { lpipsOfImages, lpipsOfLayers } from '../../../evaluation/metrics/lpips.js';
import { inCanonicalOrder, pairedImageScores } from '../../../evaluation/metrics/paired-image-scores.js';
import { psnrOfImages } from '../../../evaluation/metrics/psnr.js';
import { ssimOfImages } from '../../../evaluation/metrics/ssim.js';
import type { Runnable } from '../../../models/executor.js';
import { tensorFromNpy } from '../../../models/tensors/npy.js';
import { gaussianTensor } from '../../../models/tensors/random.js';
import {
  concatRows,
  type Float32Tensor,
  float32,
  sliceRows,
  type Tensor,
  tensor,
} from '../../../models/tensors/tensor.js';

const EXTRACTOR = new URL('../../../models/zoo/cifar10-resnet/', import.meta.url);
const MODEL = readFileSync(fileURLToPath(new URL('model.onnx', EXTRACTOR)));
const spec = parseExtractorSpec(JSON.parse(readFileSync(new URL('extractor.json', EXTRACTOR), 'utf8')));

/** float64 sums of numbers around 1, of float32 features. */
const ROUNDING = 1e-7;

const only = (a: Float32Tensor, b: Float32Tensor, weight?: number | readonly number[]): number =>
  lpipsOfLayers([{ a, b, ...(weight === undefined ? {} : { weight }) }])[0] as number;

describe('lpipsOfLayers', () => {
  const a = float32([1, 2, 1, 2], [3, 1, 4, 0]); // channels of position 0: (3, 4), of position 1: (1, 0)
  const b = float32([1, 2, 1, 2], [4, 0, 3, 1]); // (4, 3) and (0, 1)

  test('is what one computes by hand: ((0.6 − 0.8)² + (0.8 − 0.6)² + 1 + 1) / 2', () => {
    expect(Math.abs(only(a, b) - 1.04)).toBeLessThan(ROUNDING);
    expect(Math.abs(only(a, b, 0.5) - 0.52)).toBeLessThan(ROUNDING);
    expect(Math.abs(only(a, b, [1, 0]) - (0.04 + 1) / 2)).toBeLessThan(ROUNDING);
  });

  test('adds up layers and keeps pairs apart', () => {
    const two = lpipsOfLayers([
      { a: concatRows([a, a]), b: concatRows([b, a]) },
      { a: float32([2, 1, 1, 1], [5, 5]), b: float32([2, 1, 1, 1], [-5, 7]) },
    ]);
    // one channel of length 5: +1 against −1 gives 4, against +1 nothing
    expect(Math.abs((two[0] as number) - 5.04)).toBeLessThan(ROUNDING);
    expect(two[1]).toBeLessThan(ROUNDING);
  });

  test('identical is 0, orthogonal 2, opposite 4, nothing against something 1, nothing against nothing 0', () => {
    const x = float32([1, 2, 1, 1], [1, 0]);
    const y = float32([1, 2, 1, 1], [0, 1]);
    const none = float32([1, 2, 1, 1], [0, 0]);
    expect(only(x, x)).toBe(0);
    expect(Math.abs(only(x, y) - 2)).toBeLessThan(ROUNDING);
    expect(Math.abs(only(x, float32([1, 2, 1, 1], [-1, 0])) - 4)).toBeLessThan(ROUNDING);
    expect(Math.abs(only(x, none) - 1)).toBeLessThan(ROUNDING);
    expect(only(none, none)).toBe(0);
  });

  test('is symmetric to the bit, does not change when features are scaled, and lies in 0 … 4', () => {
    fc.assert(
      fc.property(fc.nat(1000), fc.double({ min: 0.01, max: 100, noNaN: true }), (seed, scale) => {
        const p = gaussianTensor(seed, 0, [3, 5, 4, 2]);
        const q = gaussianTensor(seed, 1, [3, 5, 4, 2]);
        const forward = lpipsOfLayers([{ a: p, b: q }]);
        const scaled = lpipsOfLayers([
          {
            a: float32(
              p.dims,
              p.data.map((x) => x * scale),
            ),
            b: q,
          },
        ]);
        expect([...lpipsOfLayers([{ a: q, b: p }])]).toEqual([...forward]);
        for (const [i, value] of forward.entries()) {
          expect(Math.abs((scaled[i] as number) - value)).toBeLessThan(10 * ROUNDING);
          expect(value).toBeGreaterThan(0);
          expect(value).toBeLessThanOrEqual(4);
        }
      }),
      { numRuns: 50, seed: 1 },
    );
  });

  test('refuses layers that do not fit', () => {
    expect(() => only(a, float32([1, 2, 2, 1], [0, 0, 0, 0]))).toThrow(/must be \[1, c, h, w\] on both sides/);
    expect(() => only(a, b, [1, 2, 3])).toThrow(/2 channels has 3 weights/);
  });
});

describe('with the bundled extractor', () => {
  const float = tensorFromNpy(
    readFileSync(new URL('../../../bench/protocols/emoji-t2i-256/float_u8.npy', import.meta.url)),
  ) as Tensor<'uint8'>;
  const pictures = sliceRows(float, 0, 40);
  let executor: EngineExecutor;
  let layers: Runnable;
  beforeAll(async () => {
    executor = await EngineExecutor.start({ device: 'cpu', threads: 1 });
    layers = await executor.open(withLayerOutputs(MODEL, spec));
  });
  afterAll(() => executor?.close());

  const distances = (a: Images, b: Images) => lpipsOfImages(a, b, { layers, spec });
  const mean = (values: Float64Array): number => values.reduce((sum, value) => sum + value, 0) / values.length;

  test('has five layers that its graph computes, and refuses others', () => {
    expect(layers.outputNames).toEqual(spec.layers?.map(({ name }) => name));
    expect(layers.outputNames).toHaveLength(5);
    const wrong = { ...spec, layers: [{ name: '/c/c.2/Relu_output_1' }] };
    expect(() => withLayerOutputs(MODEL, wrong)).toThrow(/no value[\s\S]*Did you mean '\/c\/c\.2\/Relu_output_0'/);
    expect(() => withLayerOutputs(MODEL, { ...spec, layers: undefined })).toThrow(/declares no layers/);
  });

  test('the last layer, averaged over the picture, is the features', async () => {
    const plain = await executor.open(MODEL);
    const input = gaussianTensor(1, 0, [2, 3, 32, 32]);
    const features = (await plain.run({ images: input }, ['features'])).features as Float32Tensor;
    const last = (await layers.run({ images: input }))['/d/d.1/Relu_1_output_0'] as Float32Tensor;
    const positions = (last.dims[2] ?? 0) * (last.dims[3] ?? 0);
    const largest = Math.max(...features.data);
    for (const [i, value] of features.data.entries()) {
      const average = last.data.subarray(i * positions, (i + 1) * positions).reduce((a, b) => a + b, 0) / positions;
      expect(Math.abs(average - value)).toBeLessThan(1e-5 * largest);
    }
  });

  test('grows with noise, and is far smaller for a shifted picture than for another one', async () => {
    const noise = gaussianTensor(3, 0, pictures.dims);
    const noisy = (sigma: number): Images =>
      tensor(
        'uint8',
        pictures.dims,
        Uint8ClampedArray.from(pictures.data, (x, i) => x + sigma * (noise.data[i] as number)) as unknown as Uint8Array,
      );
    const values = [];
    for (const sigma of [0, 2, 8, 32]) values.push(mean(await distances(pictures, noisy(sigma))));
    expect(values[0]).toBe(0);
    for (let i = 1; i < values.length; i += 1) expect(values[i]).toBeGreaterThan(2 * (values[i - 1] as number));
    const shifted = tensor(
      'uint8',
      pictures.dims,
      Uint8Array.from(pictures.data, (_, i) => pictures.data[Math.max(0, i - 3)] as number),
    );
    const others = concatRows([sliceRows(pictures, 1, 40), sliceRows(pictures, 0, 1)]);
    const [near, far] = [mean(await distances(pictures, shifted)), mean(await distances(pictures, others))];
    expect(far).toBeGreaterThan(3 * near);
  });

  test('a pair has the same distance to the bit whatever stands beside it', async () => {
    const others = sliceRows(float, 40, 80);
    const whole = await distances(pictures, others);
    for (const [first, end] of [
      [7, 9],
      [0, 33],
      [39, 40],
    ] as const) {
      const part = await distances(sliceRows(pictures, first, end), sliceRows(others, first, end));
      expect([...part]).toEqual([...whole.subarray(first, end)]);
    }
  });

  test('pairedImageScores gives each pair what the metrics give it, independent of the order and of how many at once', async () => {
    const others = sliceRows(float, 40, 80);
    const [a, b] = [sourceOf(pictures), sourceOf(others)];
    const scores = await pairedImageScores(a, b, { lpips: { layers, spec } });
    expect([...scores.psnrDb]).toEqual([...psnrOfImages(pictures, others)]);
    expect([...(scores.ssim ?? [])]).toEqual([...ssimOfImages(pictures, others)]);
    expect([...(scores.lpips ?? [])]).toEqual([...(await distances(pictures, others))]);
    const order = [...Array(40).keys()].reverse();
    const turned = await pairedImageScores(reordered(a, order), reordered(b, order), {
      lpips: { layers, spec },
      pairsAtOnce: 7,
    });
    for (const name of ['psnrDb', 'ssim', 'lpips'] as const) {
      const [one, other] = [scores[name] ?? new Float64Array(), turned[name] ?? new Float64Array()];
      expect(one).toHaveLength(40);
      expect([...inCanonicalOrder(other, turned.order)]).toEqual([...inCanonicalOrder(one, scores.order)]);
    }
    expect([...inCanonicalOrder(turned.psnrDb, turned.order)]).not.toEqual([...turned.psnrDb]);
  });
});

describe('pairedImageScores', () => {
  const grey = (height: number, width: number, level: number): Images =>
    tensor('uint8', [1, height, width, 3], new Uint8Array(height * width * 3).fill(level));
  const list = (images: Images[]): PictureSource => ({
    n: images.length,
    keys: images.map((image, i) => `${image.data[0]}-${i}`),
    height: null,
    width: null,
    notes: [],
    nameOf: (index) => `${index}.png`,
    read: async (indices) => indices.map((index) => images[index] as Images),
  });

  test('refuses unlike sizes, naming every pair, and unlike numbers', async () => {
    const a = list([grey(12, 12, 1), grey(12, 20, 1), grey(12, 12, 1), grey(12, 12, 1)]);
    const b = list([grey(12, 12, 1), grey(20, 12, 1), grey(12, 12, 1), grey(13, 12, 1)]);
    await expect(pairedImageScores(a, b, { pairsAtOnce: 2 })).rejects.toThrow(
      /2 of 4 pairs differ in size:\s+1\.png 20×12, 1\.png 12×20\s+3\.png 12×12, 3\.png 12×13/,
    );
    await expect(pairedImageScores(a, list([grey(12, 12, 1)]))).rejects.toThrow(/got 4 and 1/);
  });

  test('gives no SSIM for pictures smaller than its window', async () => {
    const scores = await pairedImageScores(list([grey(8, 8, 10)]), list([grey(8, 8, 20)]));
    expect(scores.ssim).toBeNull();
    expect(Math.abs((scores.psnrDb[0] as number) - 10 * Math.log10(65025 / 100))).toBeLessThan(ROUNDING);
  });
});

function sourceOf(images: Images): PictureSource {
  const [n = 0] = images.dims;
  return {
    n,
    keys: Array.from({ length: n }, (_, i) =>
      Buffer.from(sliceRows(images, i, i + 1).data.subarray(0, 3000)).toString('hex'),
    ),
    height: 32,
    width: 32,
    notes: [],
    nameOf: (index) => `picture ${index}`,
    read: async (indices) => indices.map((index) => sliceRows(images, index, index + 1)),
  };
}

function reordered(source: PictureSource, order: readonly number[]): PictureSource {
  return {
    ...source,
    keys: order.map((index) => source.keys[index] as string),
    read: (indices) => source.read(indices.map((index) => order[index] as number)),
  };
}
