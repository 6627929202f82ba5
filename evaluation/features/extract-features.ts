import { NibbleflowError } from '../../contracts/errors.js';
import type { Runnable } from '../../models/executor.js';
import { asFloat32, type Float32Tensor, float32, sliceRows } from '../../models/tensors/tensor.js';
import { type Images, imageSize } from '../metrics/image-pairs.js';
import type { ExtractorSpec } from './extractor-spec.js';
import { resizeImages } from './resize.js';

export interface FeatureExtraction {
  /** The extractor's opened model. */
  readonly extractor: Runnable;
  readonly spec: ExtractorSpec;
  /** RGB, uint8 [n, h, w, 3]: features are taken of what a PNG would hold. */
  readonly images: Images;
  /** Pictures per run; the last batch may be smaller. */
  readonly batchSize: number;
  readonly onProgress?: (done: number, total: number) => void;
}

/**
 * Features [n, d] of pictures: resized by the extractor's kernel (not at all when the sizes match), levels mapped to its range,
 * run in batches. Throws InvalidInput for pictures without three channels, InvalidModel when the output does not fit the spec.
 */
export async function extractFeatures(options: FeatureExtraction): Promise<Float32Tensor> {
  const { extractor, spec, images, batchSize, onProgress } = options;
  const { n, channels } = imageSize(images);
  if (channels !== 3)
    throw new NibbleflowError('InvalidInput', `features are taken of RGB pictures, got ${channels} channels`);
  if (!Number.isInteger(batchSize) || batchSize < 1) throw new RangeError(`no batch size: ${batchSize}`);
  const { name, dimension } = spec.outputs.features;
  const features = new Float32Array(n * dimension);
  for (let start = 0; start < n; start += batchSize) {
    const end = Math.min(n, start + batchSize);
    const input = extractorInput(sliceRows(images, start, end), spec);
    const output = (await extractor.run({ [spec.input.name]: input }, [name]))[name];
    if (
      output === undefined ||
      output.dims.length !== 2 ||
      output.dims[0] !== end - start ||
      output.dims[1] !== dimension
    ) {
      throw new NibbleflowError(
        'InvalidModel',
        `output ${name} must be [${end - start}, ${dimension}], got [${output?.dims}]`,
        {
          where: spec.name,
        },
      );
    }
    features.set(asFloat32(output).data, start * dimension);
    onProgress?.(end, n);
  }
  if (!features.every(Number.isFinite)) {
    throw new NibbleflowError('InvalidModel', 'the extractor made features that are not finite', { where: spec.name });
  }
  return float32([n, dimension], features);
}

/** uint8 NHWC pictures as the extractor's float32 NCHW input. */
function extractorInput(images: Images, spec: ExtractorSpec): Float32Tensor {
  const [height, width] = spec.input.size;
  const [low, high] = spec.input.range;
  const resized = resizeImages(images, height, width, spec.input.resize);
  const { n, channels } = imageSize(resized);
  const plane = height * width;
  const data = new Float32Array(n * channels * plane);
  for (let image = 0; image < n; image += 1) {
    for (let channel = 0; channel < channels; channel += 1) {
      for (let pixel = 0; pixel < plane; pixel += 1) {
        const level = resized.data[(image * plane + pixel) * channels + channel] as number;
        data[(image * channels + channel) * plane + pixel] = low + (level / 255) * (high - low);
      }
    }
  }
  return float32([n, channels, height, width], data);
}
