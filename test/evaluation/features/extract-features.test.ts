import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { EngineExecutor } from '../../../activities/engine/engine-executor.js';
import { extractFeatures } from '../../../evaluation/features/extract-features.js';
import { extractorInput, type PictureList } from '../../../evaluation/features/extractor-input.js';
import { parseExtractorSpec } from '../../../evaluation/features/extractor-spec.js';
import { resizeImages } from '../../../evaluation/features/resize.js';
import { inputTransform } from '../../../evaluation/features/resize-modes.js';
import { frechetDistance } from '../../../evaluation/metrics/frechet-distance.js';
import type { Images } from '../../../evaluation/metrics/image-pairs.js';
import type { Runnable } from '../../../models/executor.js';
import { attribute, Graph, node } from '../../../models/onnx/graph.js';
import { writeModel } from '../../../models/onnx/model-proto.js';
import { tensorFromNpy } from '../../../models/tensors/npy.js';
import {
  asFloat32,
  concatRows,
  type Float32Tensor,
  sliceRows,
  type Tensor,
  tensor,
} from '../../../models/tensors/tensor.js';
import { goldenImages } from '../golden.js';

const EXTRACTOR = new URL('../../../models/zoo/cifar10-resnet/', import.meta.url);
const spec = parseExtractorSpec(JSON.parse(readFileSync(new URL('extractor.json', EXTRACTOR), 'utf8')));
const images = goldenImages('emoji-t2i/images_u8.npy');

const npy = (path: string) => tensorFromNpy(readFileSync(new URL(`../../../${path}`, import.meta.url)));

function sameBits(a: Float32Array | undefined, b: Float32Array | undefined): boolean {
  if (a === undefined || b === undefined) return false;
  const bytes = (of: Float32Array): Uint8Array => new Uint8Array(of.buffer, of.byteOffset, of.byteLength);
  return Buffer.compare(bytes(a), bytes(b)) === 0;
}

/** Another batch size may choose another kernel, which sums float32 in another order. */
const BATCH_RELATIVE = 1e-5;

describe('extractFeatures', () => {
  let executor: EngineExecutor;
  let extractor: Runnable;
  beforeAll(async () => {
    executor = await EngineExecutor.start({ device: 'cpu', threads: 1 });
    extractor = await executor.open({ path: fileURLToPath(new URL('model.onnx', EXTRACTOR)) });
  });
  afterAll(async () => {
    await extractor?.release();
    await executor?.close();
  });

  const pool = async (pictures: PictureList, batchSize?: number) =>
    (await extractFeatures({ extractor, spec, images: pictures, batchSize })).pool;

  test('gives every declared output, deterministically', async () => {
    const features = await extractFeatures({ extractor, spec, images });
    expect(features.pool.dims).toEqual([8, 128]);
    expect(features.logits?.dims).toEqual([8, 10]);
    expect(features.spatial?.dims).toEqual([8, 7 * 16 * 16]);
    const again = await extractFeatures({ extractor, spec, images });
    for (const output of ['pool', 'logits', 'spatial'] as const) {
      expect(sameBits(features[output]?.data, again[output]?.data)).toBe(true);
    }
  });

  test('a picture has the same features to the bit whatever stands beside it', async () => {
    const float = npy('bench/protocols/emoji-t2i-256/float_u8.npy') as Tensor<'uint8'>;
    const whole = await extractFeatures({ extractor, spec, images: sliceRows(float, 0, 100) });
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(99), { minLength: 1, maxLength: 40 }), async (chosen) => {
        const pictures = chosen.map((i) => sliceRows(float, i, i + 1));
        const features = await extractFeatures({ extractor, spec, images: pictures });
        for (const output of ['pool', 'logits', 'spatial'] as const) {
          const expected = concatRows(chosen.map((i) => sliceRows(whole[output] as Float32Tensor, i, i + 1)));
          expect(sameBits(features[output]?.data, expected.data)).toBe(true);
        }
      }),
      { numRuns: 12, seed: 6 },
    );
  });

  test('does not depend on the batch size by more than rounding, partial batches included', async () => {
    const whole = await extractFeatures({ extractor, spec, images });
    for (const batchSize of [1, 3, 8, 100]) {
      const parts = await extractFeatures({ extractor, spec, images, batchSize });
      for (const output of ['pool', 'logits', 'spatial'] as const) {
        const [a, b] = [whole[output]?.data ?? new Float32Array(), parts[output]?.data ?? new Float32Array()];
        expect(a.length).toBeGreaterThan(0);
        const largest = a.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
        const apart = a.reduce((most, value, i) => Math.max(most, Math.abs(value - (b[i] ?? Number.NaN))), 0);
        expect(apart).toBeLessThanOrEqual(BATCH_RELATIVE * largest);
      }
    }
  });

  test('does not depend on the number of threads, so workers of any size agree', async () => {
    const one = await extractFeatures({ extractor, spec, images });
    for (const threads of [2, 3]) {
      const other = await EngineExecutor.start({ device: 'cpu', threads });
      const opened = await other.open({ path: fileURLToPath(new URL('model.onnx', EXTRACTOR)) });
      const features = await extractFeatures({ extractor: opened, spec, images });
      for (const output of ['pool', 'logits', 'spatial'] as const) {
        expect(sameBits(features[output]?.data, one[output]?.data)).toBe(true);
      }
      await opened.release();
      await other.close();
    }
  });

  test('takes pictures of different sizes, each resized by the kernel of the mode', async () => {
    const large = resizeImages(images, 48, 64, 'pil-bicubic');
    const mixed = await pool([sliceRows(images, 0, 2), sliceRows(large, 2, 4)]);
    expect(sameBits(sliceRows(mixed, 0, 2).data, (await pool(sliceRows(images, 0, 2))).data)).toBe(true);
    const direct = await pool(resizeImages(sliceRows(large, 2, 4), 32, 32, 'pil-bicubic'));
    expect(sameBits(sliceRows(mixed, 2, 4).data, direct.data)).toBe(true);
    const byMode = new Map<string, Float32Array>();
    for (const mode of ['extractor', 'clean', 'legacy'] as const) {
      byMode.set(mode, (await extractFeatures({ extractor, spec, images: large, mode })).pool.data);
    }
    expect(sameBits(byMode.get('extractor'), byMode.get('clean'))).toBe(false);
    expect(sameBits(byMode.get('clean'), byMode.get('legacy'))).toBe(false);
    // pictures that have the size already are the same in every mode
    const clean = await extractFeatures({ extractor, spec, images, mode: 'clean' });
    expect(sameBits(clean.pool.data, (await pool(images)).data)).toBe(true);
  });

  test('the float pictures of the benchmark protocol have the published distance to the reference features', async () => {
    const float = npy('bench/protocols/emoji-t2i-256/float_u8.npy') as Tensor<'uint8'>;
    const all = asFloat32(npy('models/zoo/emoji-reference/features.npy'));
    const items = JSON.parse(
      readFileSync(new URL('../../../models/zoo/emoji-reference/prompts.json', import.meta.url), 'utf8'),
    ) as { skinTone: boolean }[];
    const rows = items.flatMap((item, i) => (item.skinTone ? [] : [sliceRows(all, i, i + 1)]));
    const features = await pool(float);
    const { value, n } = frechetDistance(features, concatRows(rows));
    expect(n).toEqual([256, 1640]);
    // the baselines were made with torch's extractor and print three digits
    expect(Math.abs(value - 0.217)).toBeLessThan(0.001);
  });

  test('counts pictures as it goes', async () => {
    const seen: number[] = [];
    await extractFeatures({
      extractor,
      spec,
      images: concatRows([images, images]),
      batchSize: 6,
      onProgress: (done) => seen.push(done),
    });
    expect(seen).toEqual([6, 12, 16]);
  });

  test('refuses pictures that are not RGB and an output of another dimension', async () => {
    const grey = tensor('uint8', [1, 32, 32, 1], new Uint8Array(1024));
    await expect(extractFeatures({ extractor, spec, images: grey, batchSize: 1 })).rejects.toThrow(/RGB/);
    const wrong = { ...spec, outputs: { ...spec.outputs, features: { name: 'features', dimension: 64 } } };
    await expect(extractFeatures({ extractor, spec: wrong, images, batchSize: 8 })).rejects.toThrow(
      /must be \[8, 64\]/,
    );
  });
});

describe('extractFeatures of a broken extractor', () => {
  test('names the picture whose features are not finite', async () => {
    const { graph, spec: broken } = logarithmExtractor();
    const executor = await EngineExecutor.start({ device: 'cpu', threads: 1 });
    const extractor = await executor.open(writeModel(graph));
    const black = tensor('uint8', [1, 4, 4, 3], new Uint8Array(48));
    const grey = tensor('uint8', [1, 4, 4, 3], new Uint8Array(48).fill(128));
    const nameOf = (index: number) => ['a.png', 'b.png', 'c.png'][index] ?? '';
    const extract = (list: Tensor<'uint8'>[]) => extractFeatures({ extractor, spec: broken, images: list, nameOf });
    await expect(extract([grey, grey, black])).rejects.toThrow(/not finite of c\.png/);
    expect((await extract([grey, grey])).pool.data.every(Number.isFinite)).toBe(true);
    await extractor.release();
    await executor.close();
  });
});

/** The mean over the picture of log(level / 255): −∞ for a black one. */
function logarithmExtractor() {
  const graph = new Graph();
  graph.opset = 17;
  graph.inputs = [{ name: 'x', type: 'float32', shape: ['n', 3, 4, 4] }];
  graph.outputs = [{ name: 'y', type: 'float32', shape: ['n', 3] }];
  graph.nodes = [
    node('Log', ['x'], ['logs'], { name: 'log' }),
    node('ReduceMean', ['logs'], ['y'], {
      name: 'mean',
      attributes: { axes: attribute.ints([2, 3]), keepdims: attribute.int(0) },
    }),
  ];
  const spec = parseExtractorSpec({
    name: 'logs',
    input: { name: 'x', layout: 'NCHW', size: [4, 4], resize: 'pil-bicubic', range: [0, 1] },
    outputs: { features: { name: 'y', dimension: 3 } },
  });
  return { graph, spec };
}

describe('inputTransform', () => {
  const input = { name: 'x', layout: 'NCHW', size: [8, 8], resize: 'tf1-bilinear' };
  const outputs = { features: { name: 'y', dimension: 3 } };

  test('maps levels by range, by channel ranges, or by mean and std', () => {
    const rangesOf = (extra: object) =>
      inputTransform(parseExtractorSpec({ name: 'e', input: { ...input, ...extra }, outputs }), 'extractor').ranges;
    expect(rangesOf({ range: [-1, 1] })).toEqual([
      [-1, 1],
      [-1, 1],
      [-1, 1],
    ]);
    const perChannel = [
      [0, 1],
      [-1, 1],
      [0, 255],
    ];
    expect(rangesOf({ range: perChannel })).toEqual(perChannel);
    expect(rangesOf({ mean: [0.5, 0.4, 0.3], std: [0.25, 0.5, 1] })[0]).toEqual([-2, 2]);
  });

  test('a mode has its own kernel, and the range the extractor gives it', () => {
    const modes = { clean: { range: [-1, 127 / 128] } };
    const spec = parseExtractorSpec({ name: 'e', input: { ...input, range: [-1, 1], modes }, outputs });
    expect(inputTransform(spec, 'extractor').kernel).toBe('tf1-bilinear');
    expect(inputTransform(spec, 'clean').kernel).toBe('pil-bicubic-float');
    // (level − 128) / 128
    expect(inputTransform(spec, 'clean').ranges[0]).toEqual([-1, (255 - 128) / 128]);
    expect(inputTransform(spec, 'legacy')).toEqual({ ...inputTransform(spec, 'extractor'), kernel: 'torch-bilinear' });
  });

  test('CLIP’s crop is of the extractor’s own mode, and of square inputs', () => {
    const parse = (extra: object) =>
      parseExtractorSpec({ name: 'e', input: { ...input, range: [0, 1], crop: 'center', ...extra }, outputs });
    expect(inputTransform(parse({}), 'extractor').crop).toBe('center');
    expect(inputTransform(parse({}), 'clean').crop).toBeUndefined();
    expect(() => parse({ size: [8, 12] })).toThrow(/a square is cut out/);
  });

  test('an input needs one of range and mean with std, not both', () => {
    const parse = (extra: object) => parseExtractorSpec({ name: 'e', input: { ...input, ...extra }, outputs });
    expect(() => parse({})).toThrow(/either a range, or a mean and std/);
    expect(() => parse({ range: [0, 1], mean: [0, 0, 0] })).toThrow(/either a range/);
    expect(() => parse({ mean: [0, 0, 0], std: [1, 0, 1] })).toThrow(/std 0/);
  });
});

describe('parseExtractorSpec', () => {
  test('reads files of before there were layers, sizes of maps and modes', () => {
    const first = {
      name: 'old',
      input: {
        name: 'images',
        layout: 'NCHW',
        size: [32, 32],
        resize: 'pil-bicubic',
        range: [0, 1],
        normalisation: 'inside the graph',
      },
      outputs: {
        features: { name: 'features', dimension: 128 },
        spatial: { name: 'spatial' },
        logits: { name: 'logits', classes: 10 },
      },
    };
    expect(parseExtractorSpec(first)).toEqual(first);
  });

  test('names every wrong field', () => {
    const broken = { name: 'x', input: { ...spec.input, resize: 'cubic', size: [32] }, outputs: {} };
    expect(() => parseExtractorSpec(broken)).toThrow(/resize[\s\S]*features|features[\s\S]*resize/);
  });
});

describe('the crop of CLIP', () => {
  const specOf = (crop?: 'center') =>
    parseExtractorSpec({
      name: 'e',
      input: { name: 'x', layout: 'NCHW', size: [6, 6], resize: 'pil-bicubic', range: [0, 255], ...(crop && { crop }) },
      outputs: { features: { name: 'y', dimension: 3 } },
    });
  const picture = (height: number, width: number): Images => {
    const data = Uint8Array.from({ length: height * width * 3 }, (_, i) => (i * 7919) % 251);
    return { type: 'uint8', dims: [1, height, width, 3], data };
  };
  const levels = (of: Images, crop?: 'center') => [...extractorInput([of], specOf(crop), 'extractor', 1).data];

  /** [height, width], the size whose shorter side is 6, and where the square lies in it (transformers' CLIPImageProcessor). */
  test.each([
    [9, 20, 6, 13, 0, 3],
    [21, 9, 14, 6, 4, 0],
    [12, 15, 6, 7, 0, 0],
  ])('cuts the middle out of %i × %i pixels, resized to %i × %i', (height, width, rows, columns, top, left) => {
    const resized = resizeImages(picture(height, width), rows, columns, 'pil-bicubic').data;
    const expected = [0, 1, 2].flatMap((channel) =>
      Array.from({ length: 36 }, (_, i) => {
        const [row, column] = [top + Math.floor(i / 6), left + (i % 6)];
        return resized[(row * columns + column) * 3 + channel] ?? 0;
      }),
    );
    const found = levels(picture(height, width), 'center');
    for (const [i, level] of expected.entries()) expect(found[i]).toBeCloseTo(level, 4);
    expect(levels(picture(height, width))).not.toEqual(found);
  });

  test('does nothing to square pictures', () => {
    expect(levels(picture(11, 11), 'center')).toEqual(levels(picture(11, 11)));
  });
});
