import { NibbleflowError } from '../../contracts/errors.js';
import type { Runnable } from '../../models/executor.js';
import { floatOutput, promptFeeds } from '../../models/pipelines/encode-prompts.js';
import type { PromptTokenizer } from '../../models/pipelines/tokenize.js';
import { type Float32Tensor, float32 } from '../../models/tensors/tensor.js';
import type { ExtractorSpec } from './extractor-spec.js';

/** Prompts per run, always: the last batch is filled up, so that a prompt's numbers do not depend on the prompts beside it. */
const BATCH = 16;

export interface TextEmbedding {
  /** The opened text model of the extractor. */
  readonly encoder: Runnable;
  readonly spec: ExtractorSpec;
  readonly tokenizer: PromptTokenizer;
  readonly prompts: readonly string[];
  readonly onProgress?: (done: number, total: number) => void;
}

/**
 * The embeddings [prompts, d] of prompts in the space of the extractor's features (Radford et al. 2021); equal prompts are
 * computed once.
 * @throws NibbleflowError InvalidModel when the extractor declares no text encoder, or its output does not fit or is not finite
 */
export async function textEmbeddings(options: TextEmbedding): Promise<Float32Tensor> {
  const { encoder, spec, tokenizer, prompts, onProgress } = options;
  const d = spec.outputs.features.dimension;
  const distinct = [...new Set(prompts)];
  const rows = new Map<string, Float32Array>();
  for (let start = 0; start < distinct.length; start += BATCH) {
    const batch = distinct.slice(start, start + BATCH);
    const full = Array.from({ length: BATCH }, (_, index) => batch[Math.min(index, batch.length - 1)] as string);
    const values = await encode(encoder, spec, tokenizer, full);
    for (const [index, prompt] of batch.entries()) rows.set(prompt, values.subarray(index * d, (index + 1) * d));
    onProgress?.(start + batch.length, distinct.length);
  }
  const result = new Float32Array(prompts.length * d);
  for (const [index, prompt] of prompts.entries()) result.set(rows.get(prompt) ?? [], index * d);
  return float32([prompts.length, d], result);
}

async function encode(
  encoder: Runnable,
  spec: ExtractorSpec,
  tokenizer: PromptTokenizer,
  prompts: readonly string[],
): Promise<Float32Array> {
  const { text, outputs } = spec;
  if (text === undefined) {
    throw new NibbleflowError('InvalidModel', 'the extractor has no text encoder', { where: spec.name });
  }
  const { ids, attentionMask, type } = text.input;
  const feeds = promptFeeds({ inputs: { ids, attentionMask }, idsType: type }, tokenizer, prompts);
  const value = floatOutput(await encoder.run(feeds, [text.output.name]), text.output.name);
  const [n, d] = value.dims;
  const wanted = outputs.features.dimension;
  if (value.dims.length !== 2 || n !== prompts.length || d !== wanted) {
    const found = `[${value.dims.join(', ')}]`;
    throw new NibbleflowError(
      'InvalidModel',
      `the text encoder gives ${found}, not [${prompts.length}, ${wanted}] as the pictures' features ask for`,
      { where: spec.name, fix: 'Export both encoders with their projections.' },
    );
  }
  if (!value.data.every(Number.isFinite)) {
    throw new NibbleflowError('InvalidModel', 'the text encoder gave numbers that are not finite', {
      where: spec.name,
    });
  }
  return value.data;
}
