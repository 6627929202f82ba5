import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { ArtifactRef } from '../contracts/artifact.js';
import type { Extractor } from '../evaluation/features/extractor-spec.js';
import type { Pipeline } from '../models/pipelines/pipeline.js';
import { tensorFromNpy } from '../models/tensors/npy.js';
import { writeSafetensors } from '../models/tensors/safetensors.js';
import { asFloat32, concatRows, type Float32Tensor, sliceRows } from '../models/tensors/tensor.js';
import { repeatsOf, saveFeatureSet } from './features/stored-feature-set.js';
import { packageFile } from './package-file.js';
import { digestOfFile, type LocalStore } from './store/local-store.js';

const REFERENCE = 'models/zoo/emoji-reference';
/** The pipeline whose training pictures the reference features are of. */
const REFERENCE_DENOISER = 'models/zoo/emoji-t2i/unet/model.onnx';
/** Features of reference pictures that a pipeline folder brings along. */
const OWN_REFERENCE = 'reference/features.npy';

/**
 * Features [n, d] of reference pictures by the bundled extractor: those in the folder's reference/features.npy, or the bundled
 * ones (without skin-tone variants) for the bundled pipeline; null for others.
 * @param denoiserDigest sha256 of the float pipeline's denoiser file
 */
export async function ownReference(pipeline: Pipeline, denoiserDigest: string): Promise<Float32Tensor | null> {
  if (pipeline.files.paths().includes(OWN_REFERENCE))
    return asFloat32(tensorFromNpy(pipeline.files.read(OWN_REFERENCE)));
  if (denoiserDigest !== (await digestOfFile(packageFile(REFERENCE_DENOISER)))) return null;
  const features = asFloat32(tensorFromNpy(readFileSync(packageFile(`${REFERENCE}/features.npy`))));
  const entries = JSON.parse(readFileSync(packageFile(`${REFERENCE}/prompts.json`), 'utf8')) as { skinTone: boolean }[];
  const rows = entries.flatMap(({ skinTone }, row) => (skinTone ? [] : [sliceRows(features, row, row + 1)]));
  return concatRows(rows);
}

/** Keeps features whose pictures are not at hand as a set: the pictures' keys are those of their features. */
export async function storeReference(
  store: LocalStore,
  features: Float32Tensor,
  { spec, sha256 }: Extractor,
): Promise<ArtifactRef> {
  const [n = 0, d = 0] = features.dims;
  const keys = Array.from({ length: n }, (_, row) => rowKey(sliceRows(features, row, row + 1)));
  const counts = new Map<string, number>();
  for (const key of keys) counts.set(key, (counts.get(key) ?? 0) + 1);
  return saveFeatureSet(store, {
    schemaVersion: 1,
    extractor: { name: spec.name, sha256 },
    resize: 'extractor',
    widths: { pool: d },
    chunks: [{ features: await store.put('features', writeSafetensors(new Map([['pool', features]]))), keys }],
    repeats: repeatsOf(counts),
  });
}

function rowKey({ data }: Float32Tensor): string {
  return createHash('sha256')
    .update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
    .digest('hex');
}
