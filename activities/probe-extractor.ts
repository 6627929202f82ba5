import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { NibbleflowError } from '../contracts/errors.js';
import { extractFeatures } from '../evaluation/features/extract-features.js';
import type { ExtractorSpec } from '../evaluation/features/extractor-spec.js';
import type { Images } from '../evaluation/metrics/image-pairs.js';
import { EngineExecutor } from './engine/engine-executor.js';
import { type FoundExtractor, MODEL_FILE } from './extractor-folder.js';
import { openTextEncoder } from './features/clip-embeddings.js';

/** A picture with every level, of a size that has to be resized for nearly any extractor. */
const SIDE = 48;

const PROMPT = 'a picture';

/**
 * Runs an extractor on one picture, and its text encoder on one prompt when it has one.
 * @throws NibbleflowError InvalidModel when a model cannot be opened or run, or its outputs do not fit the description
 */
export async function probeExtractor(found: Pick<FoundExtractor, 'spec' | 'folder' | 'sha256'>): Promise<void> {
  const { spec, folder } = found;
  const executor = await EngineExecutor.start({ device: 'cpu', threads: availableParallelism() });
  try {
    const extractor = await executor.open({ path: join(folder, MODEL_FILE) });
    checkNames(spec, extractor.inputNames, extractor.outputNames);
    await extractFeatures({ extractor, spec, images: probePicture(), batchSize: 1 });
    const encoder = await openTextEncoder(found, executor);
    await encoder?.embed([PROMPT]);
  } finally {
    await executor.close();
  }
}

function checkNames(
  { name, input, outputs }: ExtractorSpec,
  inputs: readonly string[],
  given: readonly string[],
): void {
  const wrongInput = inputs.length === 1 && inputs[0] === input.name ? undefined : `reads ${inputs.join(', ')}`;
  const absent = [outputs.features, outputs.spatial, outputs.logits].find(
    (output) => output !== undefined && !given.includes(output.name),
  );
  const what =
    wrongInput ?? (absent === undefined ? undefined : `has no output ${absent.name}, but ${given.join(', ')}`);
  if (what === undefined) return;
  throw new NibbleflowError('InvalidModel', `the model does not fit its description: it ${what}`, {
    where: name,
    fix: `extractor.json names the one input ("${input.name}") and the outputs of model.onnx.`,
  });
}

function probePicture(): Images {
  const data = Uint8Array.from({ length: SIDE * SIDE * 3 }, (_, index) => (index * 37) % 256);
  return { type: 'uint8', dims: [1, SIDE, SIDE, 3], data };
}
