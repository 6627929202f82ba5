import { basename, join } from 'node:path';
import { NibbleflowError } from '../contracts/errors.js';
import { buildInceptionGraph } from '../evaluation/features/inception/build-inception-graph.js';
import {
  inceptionSpec,
  PUBLISHED_INCEPTION_FILE,
  PUBLISHED_INCEPTION_NAME,
  PUBLISHED_INCEPTION_SHA256,
} from '../evaluation/features/inception/published-inception.js';
import { modelChunks } from '../models/onnx/model-proto.js';
import { readTorchWeights } from '../models/weights/read-torch-weights.js';
import { type FoundExtractor, findExtractor, MODEL_FILE, SPEC_FILE } from './extractor-folder.js';
import { checkExtractorName } from './extractor-name.js';
import { openFileSource } from './file-source.js';
import { probeExtractor } from './probe-extractor.js';
import { atomicWrite } from './store/atomic-write.js';
import { digestOfFile } from './store/local-store.js';
import { replaceFolder } from './store/replace-folder.js';

const WEIGHTS_URL = `https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/${PUBLISHED_INCEPTION_FILE}`;

export interface InceptionImport {
  /** The weights' file. */
  readonly file: string;
  readonly extractorsDir: string;
  /** Takes weights that are not the published ones, under this name, which is never called FID. */
  readonly unpublishedName?: string;
  /** One line per step. */
  readonly say?: (line: string) => void;
}

/**
 * Builds the FID Inception network from its PyTorch weights, runs it on one picture and keeps it as an extractor. The
 * extractors' folder is as before when anything fails.
 * @throws NibbleflowError InvalidInput for a file that is not the published one (unless a name for others is given) or holds
 *   no weights of this network
 */
export async function importInception(options: InceptionImport): Promise<FoundExtractor> {
  const { file, extractorsDir, unpublishedName, say = () => undefined } = options;
  if (unpublishedName !== undefined) checkExtractorName(unpublishedName);
  const source = await openFileSource(file);
  try {
    say(`Reading ${basename(file)} (${(source.size / 1e6).toFixed(0)} MB)`);
    const weights = await readTorchWeights(source, file);
    const graph = buildInceptionGraph(weights, file);
    const sha256 = await digestOfFile(file);
    say(`sha256 ${sha256}`);
    if (unpublishedName === undefined && sha256 !== PUBLISHED_INCEPTION_SHA256) throw otherWeights(file, sha256);
    const name = unpublishedName ?? PUBLISHED_INCEPTION_NAME;
    await replaceFolder(join(extractorsDir, name), async (fresh) => {
      const modelPath = join(fresh, MODEL_FILE);
      await atomicWrite(modelPath, modelChunks(graph));
      const model = await digestOfFile(modelPath);
      const spec = inceptionSpec(name, basename(file), { weights: sha256, model });
      await atomicWrite(join(fresh, SPEC_FILE), [new TextEncoder().encode(`${JSON.stringify(spec, null, 2)}\n`)]);
      say('Running it on one picture');
      await probeExtractor({ spec, folder: fresh, sha256: model });
    });
    return await findExtractor(name, extractorsDir);
  } finally {
    await source.close();
  }
}

function otherWeights(file: string, sha256: string): NibbleflowError {
  const what =
    `These are weights of the same network, but not the published ones: their sha256 begins with ${sha256.slice(0, 8)}, ` +
    `the published file's with ${PUBLISHED_INCEPTION_SHA256.slice(0, 8)}`;
  return new NibbleflowError('InvalidInput', what, {
    where: file,
    fix: `FID is defined by ${WEIGHTS_URL}. Others are imported with --allow-unpublished NAME and never called FID.`,
  });
}
