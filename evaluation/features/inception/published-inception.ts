import { canonicalJson } from '../../../contracts/canonical-json.js';
import type { ExtractorSpec } from '../extractor-spec.js';
import { INCEPTION_VALUES } from './build-inception-graph.js';
import { INCEPTION_CLASSES, INCEPTION_FEATURES, INCEPTION_SIZE, SPATIAL_CHANNELS } from './inception-layers.js';

/**
 * Which numbers may be called FID: those of the published weights, unchanged, in the published network, on pictures prepared as
 * one of the published tools prepares them.
 */

export const PUBLISHED_INCEPTION_NAME = 'inception-2015';
/** As pytorch-fid calls the file; torch-fidelity's weights-inception-2015-12-05-6726825d.pth has the same bytes. */
export const PUBLISHED_INCEPTION_FILE = 'pt_inception-2015-12-05-6726825d.pth';
/** Of the file: as genforce/hammer pins it, and as several later projects do; its first digits are in the file's name. */
export const PUBLISHED_INCEPTION_SHA256 = '6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2';

/** Levels 0…255 as the TensorFlow graph takes them: (level − 128) / 128. */
const TENSORFLOW_RANGE: [number, number] = [-1, 127 / 128];
/** As pytorch-fid takes them: 2 · level / 255 − 1. */
const PYTORCH_FID_RANGE: [number, number] = [-1, 1];

/**
 * extractor.json of the network. Pictures are resized as the TensorFlow graph does it (so do torch-fidelity and OpenAI's
 * evaluator); `clean` prepares them as clean-fid, `legacy` as pytorch-fid.
 * @param sha256 of the weights' file and of the ONNX model made from it
 */
export function inceptionSpec(name: string, source: string, sha256: { weights: string; model: string }): ExtractorSpec {
  const { input, features, spatial, logits, maps } = INCEPTION_VALUES;
  return {
    name,
    input: {
      name: input,
      layout: 'NCHW',
      size: [INCEPTION_SIZE, INCEPTION_SIZE],
      resize: 'tf1-bilinear',
      range: TENSORFLOW_RANGE,
      modes: { clean: { range: TENSORFLOW_RANGE }, legacy: { range: PYTORCH_FID_RANGE } },
    },
    outputs: {
      features: { name: features, dimension: INCEPTION_FEATURES },
      spatial: { name: spatial, dims: [17, 17, SPATIAL_CHANNELS] },
      logits: { name: logits, classes: INCEPTION_CLASSES },
    },
    layers: maps.map((map) => ({ name: map })),
    provenance: { source, sha256: sha256.weights, model: sha256.model },
  };
}

/**
 * True when distances of this extractor's features may be called FID: it was made from the published file (whose sha256 was
 * verified then), and neither its model nor its description changed since.
 * @param modelSha256 of model.onnx as it is now
 */
export function isPublishedInception(spec: ExtractorSpec, modelSha256: string): boolean {
  const { provenance } = spec;
  if (provenance?.sha256 !== PUBLISHED_INCEPTION_SHA256 || provenance.model !== modelSha256) return false;
  const sha256 = { weights: PUBLISHED_INCEPTION_SHA256, model: modelSha256 };
  const published = inceptionSpec(PUBLISHED_INCEPTION_NAME, provenance.source ?? '', sha256);
  const described = ({ name, input, outputs }: ExtractorSpec): string => canonicalJson({ name, input, outputs });
  return described(spec) === described(published);
}
