import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { NibbleflowError } from '../../contracts/errors.js';
import { extractFeatures } from '../../evaluation/features/extract-features.js';
import type { PictureList } from '../../evaluation/features/extractor-input.js';
import type { TextEncoderSpec } from '../../evaluation/features/extractor-spec.js';
import type { ResizeMode } from '../../evaluation/features/resize-modes.js';
import { textEmbeddings } from '../../evaluation/features/text-embeddings.js';
import type { Executor } from '../../models/executor.js';
import type { PipelineFiles } from '../../models/pipelines/pipeline-files.js';
import { createTokenizer } from '../../models/pipelines/tokenize.js';
import type { Float32Tensor } from '../../models/tensors/tensor.js';
import type { FoundExtractor } from '../extractor-folder.js';
import { digestOfFile } from '../store/local-store.js';

/** The opened text encoder of an extractor that has one. */
export interface OpenedTextEncoder {
  /** Of pictures' model, text model and tokenizer together: what decides a CLIP score beside pictures and prompts. */
  readonly sha256: string;
  /** Embeddings [prompts, d], in the space of the pictures' features. */
  embed(prompts: readonly string[]): Promise<Float32Tensor>;
  /** Must be called once. */
  release(): Promise<void>;
}

/**
 * Opens the text encoder that an extractor declares; null when it declares none.
 * @throws NibbleflowError InvalidModel when its files are missing or broken
 */
export async function openTextEncoder(
  found: Pick<FoundExtractor, 'spec' | 'folder' | 'sha256'>,
  executor: Executor,
): Promise<OpenedTextEncoder | null> {
  const { spec, folder } = found;
  if (spec.text === undefined) return null;
  const { model, tokenizer: tokenizerFolder, maxLength } = spec.text;
  const files = tokenizerFiles(folder, spec.text);
  const tokenizer = createTokenizer({ files, tokenizer: { folder: tokenizerFolder, maxLength } });
  const modelPath = join(folder, ...model.split('/'));
  const sha256 = await pairDigest(found.sha256, modelPath, files);
  const encoder = await executor.open({ path: modelPath });
  return {
    sha256,
    embed: (prompts) => textEmbeddings({ encoder, spec, tokenizer, prompts }),
    release: () => encoder.release(),
  };
}

export interface ClipEmbeddings {
  /** [n, d] of the pictures, in their order. */
  readonly image: Float32Tensor;
  /** [n, d] of each picture's prompt. */
  readonly text: Float32Tensor;
  readonly sha256: string;
}

/**
 * Embeddings of pictures and their prompts. For more pictures than fit in memory: extractFeatureSet and openTextEncoder.
 * @param prompts one for each picture
 * @throws NibbleflowError InvalidModel when the extractor has no text encoder, or either does not fit its description
 */
export async function clipEmbeddings(options: {
  readonly found: FoundExtractor;
  readonly executor: Executor;
  readonly images: PictureList;
  readonly prompts: readonly string[];
  readonly resize?: ResizeMode;
}): Promise<ClipEmbeddings> {
  const { found, executor, images, prompts, resize = 'extractor' } = options;
  const encoder = await openTextEncoder(found, executor);
  if (encoder === null) {
    throw new NibbleflowError('InvalidModel', 'the extractor has no text encoder', {
      where: found.spec.name,
      fix: 'CLIP scores need an extractor whose extractor.json has "text".',
    });
  }
  const extractor = await executor.open(found.model);
  try {
    const { pool } = await extractFeatures({ extractor, spec: found.spec, images, mode: resize });
    if (pool.dims[0] !== prompts.length) {
      throw new RangeError(`${pool.dims[0]} pictures have ${prompts.length} prompts`);
    }
    return { image: pool, text: await encoder.embed(prompts), sha256: encoder.sha256 };
  } finally {
    await Promise.all([extractor.release(), encoder.release()]);
  }
}

/** Paths below an extractor's folder of all files of its tokenizer. */
export function tokenizerPaths(folder: string, { tokenizer }: TextEncoderSpec): string[] {
  const top = join(folder, ...tokenizer.split('/'));
  try {
    return readdirSync(top, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => relative(folder, join(entry.parentPath, entry.name)).split(sep).join('/'))
      .sort();
  } catch (cause) {
    throw new NibbleflowError('InvalidModel', 'the extractor has no tokenizer', { where: top, cause });
  }
}

function tokenizerFiles(folder: string, text: TextEncoderSpec): PipelineFiles {
  const paths = tokenizerPaths(folder, text);
  return { name: folder, paths: () => paths, read: (path) => readFileSync(join(folder, ...path.split('/'))) };
}

async function pairDigest(pictures: string, textModel: string, files: PipelineFiles): Promise<string> {
  const hash = createHash('sha256');
  const texts = await digestOfFile(textModel).catch((cause: unknown) => {
    throw new NibbleflowError('InvalidModel', 'the text encoder cannot be read', { where: textModel, cause });
  });
  hash.update(`${pictures}\n${texts}\n`);
  for (const path of files.paths()) {
    hash.update(`${path} ${createHash('sha256').update(files.read(path)).digest('hex')}\n`);
  }
  return hash.digest('hex');
}
