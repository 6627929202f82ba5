import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { EngineExecutor } from '../../../activities/engine/engine-executor.js';
import { extractFeatures } from '../../../evaluation/features/extract-features.js';
import { parseExtractorSpec } from '../../../evaluation/features/extractor-spec.js';
import { resizeImages } from '../../../evaluation/features/resize.js';
import { frechetDistance } from '../../../evaluation/metrics/frechet-distance.js';
import type { Runnable } from '../../../models/executor.js';
import { tensorFromNpy } from '../../../models/tensors/npy.js';
import { asFloat32, concatRows, sliceRows, type Tensor, tensor } from '../../../models/tensors/tensor.js';
import { goldenImages } from '../golden.js';

const EXTRACTOR = new URL('../../../models/zoo/cifar10-resnet/', import.meta.url);
const spec = parseExtractorSpec(JSON.parse(readFileSync(new URL('extractor.json', EXTRACTOR), 'utf8')));
const images = goldenImages('emoji-t2i/images_u8.npy');

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

  test('is deterministic and does not depend on the batch size, partial batches included', async () => {
    const whole = await extractFeatures({ extractor, spec, images, batchSize: 8 });
    expect(whole.dims).toEqual([8, 128]);
    expect(await extractFeatures({ extractor, spec, images, batchSize: 8 })).toEqual(whole);
    const largest = whole.data.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
    for (const batchSize of [1, 3, 100]) {
      const parts = await extractFeatures({ extractor, spec, images, batchSize });
      for (const [i, value] of whole.data.entries()) {
        expect(Math.abs((parts.data[i] ?? Number.NaN) - value)).toBeLessThanOrEqual(BATCH_RELATIVE * largest);
      }
    }
  });

  test('differs between pictures and resizes those of another size', async () => {
    const features = await extractFeatures({ extractor, spec, images, batchSize: 8 });
    expect(features.data.subarray(0, 128)).not.toEqual(features.data.subarray(128, 256));
    const enlarged = resizeImages(images, 48, 64, 'pil-bicubic');
    const viaResize = await extractFeatures({ extractor, spec, images: enlarged, batchSize: 8 });
    const direct = await extractFeatures({
      extractor,
      spec,
      images: resizeImages(enlarged, 32, 32, 'pil-bicubic'),
      batchSize: 8,
    });
    expect(viaResize).toEqual(direct);
  });

  test('the float pictures of the benchmark protocol have the published distance to the reference features', async () => {
    const npy = (path: string) => tensorFromNpy(readFileSync(new URL(`../../../${path}`, import.meta.url)));
    const float = npy('bench/protocols/emoji-t2i-256/float_u8.npy') as Tensor<'uint8'>;
    const all = asFloat32(npy('models/zoo/emoji-reference/features.npy'));
    const items = JSON.parse(
      readFileSync(new URL('../../../models/zoo/emoji-reference/prompts.json', import.meta.url), 'utf8'),
    ) as { skinTone: boolean }[];
    const rows = items.flatMap((item, i) => (item.skinTone ? [] : [sliceRows(all, i, i + 1)]));
    const features = await extractFeatures({ extractor, spec, images: float, batchSize: 64 });
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

describe('parseExtractorSpec', () => {
  test('names every wrong field', () => {
    const broken = { name: 'x', input: { ...spec.input, resize: 'nearest', size: [32] }, outputs: {} };
    expect(() => parseExtractorSpec(broken)).toThrow(/resize[\s\S]*features|features[\s\S]*resize/);
  });
});
