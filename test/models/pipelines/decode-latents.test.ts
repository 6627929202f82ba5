import { describe, expect, it } from 'vitest';
import { decodeLatents, picturesFromSignal } from '../../../models/pipelines/decode-latents.js';
import { readPipeline } from '../../../models/pipelines/read-pipeline.js';
import { float32 } from '../../../models/tensors/tensor.js';
import { pipelineFolder } from './pipeline-folder.js';

describe('picturesFromSignal', () => {
  it('moves channels last', () => {
    const signal = float32([1, 3, 1, 2], [-1, 1, -1, 1, 1, -1]);
    const pictures = picturesFromSignal(signal);
    expect(pictures.dims).toEqual([1, 1, 2, 3]);
    expect([...pictures.data]).toEqual([0, 0, 255, 255, 255, 0]);
  });

  it('clamps, and sends halves to the even neighbour', () => {
    // x with (x/2 + 0.5)·255 = 127.5 (0), 0.5 and 1.5 exactly in float32, and values beyond the range.
    const half = 2 * (0.5 / 255) - 1;
    const signal = float32([1, 1, 1, 6], [0, half, -7, 7, Number.POSITIVE_INFINITY, Number.NaN]);
    const [middle, low, below, above, infinite, notANumber] = picturesFromSignal(signal).data;
    expect([middle, below, above, infinite, notANumber]).toEqual([128, 0, 255, 255, 0]);
    expect(low === 0 || low === 1).toBe(true);
  });

  it('inverts the mapping of every level', () => {
    const levels = Float32Array.from({ length: 256 }, (_, level) => (level / 255) * 2 - 1);
    expect([...picturesFromSignal(float32([1, 1, 16, 16], levels)).data]).toEqual([...Array(256).keys()]);
  });
});

describe('decodeLatents', () => {
  it('turns pixels into pictures without a decoder', async () => {
    const pipeline = readPipeline(pipelineFolder('test/golden/pipelines/ddpm_uncond'));
    const pictures = await decodeLatents(pipeline, null, float32([2, 3, 1, 1], [1, -1, 0, -1, 1, 1]));
    expect(pictures.dims).toEqual([2, 1, 1, 3]);
    expect([...pictures.data]).toEqual([255, 0, 128, 0, 255, 255]);
  });

  it('refuses to skip the decoder of a latent pipeline', async () => {
    const pipeline = readPipeline(pipelineFolder('models/zoo/emoji-t2i'));
    await expect(decodeLatents(pipeline, null, float32([1, 12, 1, 1], new Float32Array(12)))).rejects.toThrow(
      'none was given',
    );
  });
});
