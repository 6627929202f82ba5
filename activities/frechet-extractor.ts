import { readFileSync } from 'node:fs';
import { extractFeatures } from '../evaluation/features/extract-features.js';
import { type ExtractorSpec, parseExtractorSpec } from '../evaluation/features/extractor-spec.js';
import { frechetName } from '../evaluation/metrics/frechet-name.js';
import type { Images } from '../evaluation/metrics/image-pairs.js';
import type { Executor } from '../models/executor.js';
import type { Pipeline } from '../models/pipelines/pipeline.js';
import { tensorFromNpy } from '../models/tensors/npy.js';
import { asFloat32, concatRows, type Float32Tensor, sliceRows } from '../models/tensors/tensor.js';
import { packageFile } from './package-file.js';
import { digestOfFile } from './store/local-store.js';

const EXTRACTOR = 'models/zoo/cifar10-resnet';
const REFERENCE = 'models/zoo/emoji-reference';
/** The pipeline whose training pictures the reference features are of. */
const REFERENCE_DENOISER = 'models/zoo/emoji-t2i/unet/model.onnx';
/** Features of reference pictures that a pipeline folder brings along. */
const OWN_REFERENCE = 'reference/features.npy';

/** The bundled feature extractor. */
export class FrechetExtractor {
  private constructor(
    readonly name: string,
    private readonly spec: ExtractorSpec,
    private readonly model: Uint8Array,
  ) {}

  static async load(): Promise<FrechetExtractor> {
    const spec = parseExtractorSpec(JSON.parse(readFileSync(packageFile(`${EXTRACTOR}/extractor.json`), 'utf8')));
    const path = packageFile(`${EXTRACTOR}/model.onnx`);
    return new FrechetExtractor(frechetName(spec.name, await digestOfFile(path)), spec, readFileSync(path));
  }

  /** Features [n, d] of pictures. */
  async features(executor: Executor, images: Images): Promise<Float32Tensor> {
    const extractor = await executor.open(this.model);
    try {
      const { pool } = await extractFeatures({ extractor, spec: this.spec, images });
      return pool;
    } finally {
      await extractor.release();
    }
  }
}

/**
 * Features of reference pictures: those in the folder's reference/features.npy, or the bundled ones (without skin-tone
 * variants) for the bundled pipeline; null for others.
 * @param denoiserDigest sha256 of the float pipeline's denoiser file
 */
export async function referenceFeatures(pipeline: Pipeline, denoiserDigest: string): Promise<Float32Tensor | null> {
  if (pipeline.files.paths().includes(OWN_REFERENCE))
    return asFloat32(tensorFromNpy(pipeline.files.read(OWN_REFERENCE)));
  if (denoiserDigest !== (await digestOfFile(packageFile(REFERENCE_DENOISER)))) return null;
  const features = asFloat32(tensorFromNpy(readFileSync(packageFile(`${REFERENCE}/features.npy`))));
  const entries = JSON.parse(readFileSync(packageFile(`${REFERENCE}/prompts.json`), 'utf8')) as { skinTone: boolean }[];
  const rows = entries.flatMap(({ skinTone }, row) => (skinTone ? [] : [sliceRows(features, row, row + 1)]));
  return concatRows(rows);
}
