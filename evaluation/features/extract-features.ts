import { NibbleflowError } from '../../contracts/errors.js';
import type { Runnable } from '../../models/executor.js';
import { asFloat32, elementCount, type Float32Tensor, float32, type Tensor } from '../../models/tensors/tensor.js';
import type { FeatureOutput } from '../metrics/set-metric.js';
import { extractorInput, type PictureList, singlePictures } from './extractor-input.js';
import { batchSizeOf, type ExtractorSpec } from './extractor-spec.js';
import type { ResizeMode } from './resize-modes.js';

export interface FeatureExtraction {
  /** The extractor's opened model. */
  readonly extractor: Runnable;
  readonly spec: ExtractorSpec;
  /** RGB: features are taken of what a PNG would hold. Sizes may differ between the entries of a list. */
  readonly images: PictureList;
  /** How pictures get the extractor's size; default: as it says. */
  readonly mode?: ResizeMode;
  /** Pictures per run; default: the extractor's. The last batch is filled up, so that every run has the same shapes. */
  readonly batchSize?: number;
  /** What a picture is called in errors; default: its number. */
  readonly nameOf?: (index: number) => string;
  readonly onProgress?: (done: number, total: number) => void;
}

/** What an extractor says about pictures, each [n, …] in their order. */
export interface Features {
  /** [n, d]. */
  readonly pool: Float32Tensor;
  /** [n, classes], before the softmax. */
  readonly logits?: Float32Tensor;
  /** [n, c·h·w]. */
  readonly spatial?: Float32Tensor;
}

interface WantedOutput {
  readonly output: FeatureOutput;
  readonly name: string;
  /** Numbers per picture; null: as the model says. */
  readonly width: number | null;
}

/** The outputs that a spec declares. */
export function declaredOutputs({ outputs }: ExtractorSpec): readonly WantedOutput[] {
  const { features, logits, spatial } = outputs;
  const dims = spatial?.dims;
  return [
    { output: 'pool', name: features.name, width: features.dimension },
    ...(logits === undefined ? [] : [{ output: 'logits' as const, name: logits.name, width: logits.classes }]),
    ...(spatial === undefined
      ? []
      : [{ output: 'spatial' as const, name: spatial.name, width: dims === undefined ? null : elementCount(dims) }]),
  ];
}

/**
 * Every declared output of pictures, float32. A picture's numbers do not depend on the pictures beside it. Throws
 * InvalidInput for pictures without three channels, InvalidModel when an output does not fit the spec or is not finite.
 */
export async function extractFeatures(options: FeatureExtraction): Promise<Features> {
  const { extractor, spec, onProgress, mode = 'extractor', batchSize = batchSizeOf(spec) } = options;
  if (!Number.isInteger(batchSize) || batchSize < 1) throw new RangeError(`no batch size: ${batchSize}`);
  const pictures = singlePictures(options.images);
  if (pictures.length === 0) throw new RangeError('no pictures to extract features of');
  const nameOf = options.nameOf ?? ((index: number) => `picture ${index}`);
  const wanted = declaredOutputs(spec);
  const names = wanted.map(({ name }) => name);
  const rows = new Map<FeatureOutput, Float32Array>();
  for (let start = 0; start < pictures.length; start += batchSize) {
    const batch = pictures.slice(start, start + batchSize);
    const outputs = await extractor.run({ [spec.input.name]: extractorInput(batch, spec, mode, batchSize) }, names);
    for (const one of wanted) {
      const values = checkedRows(outputs[one.name], one, batchSize, spec);
      const width = values.length / batchSize;
      const kept = values.subarray(0, batch.length * width);
      refuseNonFinite(kept, width, (row) => nameOf(start + row), spec);
      if (!rows.has(one.output)) rows.set(one.output, new Float32Array(pictures.length * width));
      rows.get(one.output)?.set(kept, start * width);
    }
    onProgress?.(start + batch.length, pictures.length);
  }
  return asFeatures(rows, pictures.length);
}

function asFeatures(rows: ReadonlyMap<FeatureOutput, Float32Array>, n: number): Features {
  const of = (output: FeatureOutput): Float32Tensor | undefined => {
    const values = rows.get(output);
    return values === undefined ? undefined : float32([n, values.length / n], values);
  };
  const [pool, logits, spatial] = [of('pool'), of('logits'), of('spatial')];
  if (pool === undefined) throw new RangeError('an extractor without features');
  return { pool, ...(logits === undefined ? {} : { logits }), ...(spatial === undefined ? {} : { spatial }) };
}

/** The values of [batch, …], `width` of each picture. */
function checkedRows(
  output: Tensor | undefined,
  { name, width }: WantedOutput,
  batch: number,
  spec: ExtractorSpec,
): Float32Array {
  const found = output?.dims ?? [];
  const numbers = elementCount(found.slice(1));
  if (output === undefined || found[0] !== batch || numbers !== (width ?? numbers)) {
    const expected = `[${batch}, ${width ?? '…'}]`;
    throw new NibbleflowError('InvalidModel', `output ${name} must be ${expected}, got [${found.join(', ')}]`, {
      where: spec.name,
    });
  }
  return asFloat32(output).data;
}

function refuseNonFinite(
  values: Float32Array,
  width: number,
  nameOf: (row: number) => string,
  { name }: ExtractorSpec,
): void {
  const at = values.findIndex((value) => !Number.isFinite(value));
  if (at < 0) return;
  throw new NibbleflowError(
    'InvalidModel',
    `the extractor made features that are not finite of ${nameOf(Math.floor(at / width))}`,
    {
      where: name,
    },
  );
}
