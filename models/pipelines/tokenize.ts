import { Tokenizer } from '@huggingface/tokenizers';
import { NibbleflowError } from '../../contracts/errors.js';
import { clipTokenizerJson } from './clip-tokenizer-json.js';
import type { Pipeline, TokenizerSource } from './pipeline.js';
import type { PipelineFiles } from './pipeline-files.js';
import { type JsonObject, readJsonObject, readOptionalJsonObject } from './pipeline-json.js';

/** Turns prompts into token ids as diffusers does: padding="max_length", truncation=True. */
export interface PromptTokenizer {
  readonly maxLength: number;
  readonly padId: number;
  /** Ids with special tokens, neither truncated nor padded. */
  encode(text: string): readonly number[];
  /** Exactly `maxLength` ids: truncated so that the closing token stays, or padded. `length` counts the ids before padding. */
  encodePadded(text: string): { readonly ids: readonly number[]; readonly length: number };
}

/**
 * The tokenizer of a pipeline: tokenizer.json, or a CLIP tokenizer's vocab.json and merges.txt.
 * @throws NibbleflowError InvalidModel when files are missing, broken, or the pipeline reads no text
 */
export function createTokenizer(pipeline: Pick<Pipeline, 'files' | 'tokenizer'>): PromptTokenizer {
  const { files, tokenizer: source } = pipeline;
  if (source === null) {
    throw new NibbleflowError('InvalidModel', 'the pipeline has no tokenizer, so it takes no prompts', {
      where: files.name,
    });
  }
  const where = `${files.name}/${source.folder}`;
  const config = readJsonObject(files, `${source.folder}/tokenizer_config.json`);
  const specials = readOptionalJsonObject(files, `${source.folder}/special_tokens_map.json`);
  const tokenizer = openTokenizer(tokenizerJson(files, source), config, where);
  const padToken = tokenText(config.pad_token) ?? tokenText(specials.pad_token);
  const padId = padToken === undefined ? undefined : tokenizer.token_to_id(padToken);
  if (padId === undefined) {
    throw new NibbleflowError(
      'InvalidModel',
      `the tokenizer has no padding token${padToken === undefined ? '' : ` "${padToken}"`}`,
      {
        where,
        fix: 'Add pad_token to tokenizer_config.json.',
      },
    );
  }
  const encode = (text: string): readonly number[] => tokenizer.encode(text).ids;
  const closing = encode('').at(-1);
  return {
    maxLength: source.maxLength,
    padId,
    encode,
    encodePadded: (text) => padded(encode(text), closing, source.maxLength, padId),
  };
}

function padded(
  ids: readonly number[],
  closing: number | undefined,
  maxLength: number,
  padId: number,
): { ids: readonly number[]; length: number } {
  if (ids.length > maxLength) {
    const kept = closing === undefined ? ids.slice(0, maxLength) : [...ids.slice(0, maxLength - 1), closing];
    return { ids: kept, length: maxLength };
  }
  const padding = Array.from({ length: maxLength - ids.length }, () => padId);
  return { ids: [...ids, ...padding], length: ids.length };
}

function tokenizerJson(files: PipelineFiles, source: TokenizerSource): JsonObject {
  const { folder } = source;
  const paths = files.paths();
  if (paths.includes(`${folder}/tokenizer.json`)) return readJsonObject(files, `${folder}/tokenizer.json`);
  if (!paths.includes(`${folder}/vocab.json`) || !paths.includes(`${folder}/merges.txt`)) {
    throw new NibbleflowError(
      'InvalidModel',
      'the tokenizer has neither tokenizer.json nor vocab.json and merges.txt',
      {
        where: `${files.name}/${folder}`,
        fix: 'Copy the files of the tokenizer.',
      },
    );
  }
  const vocab = readJsonObject(files, `${folder}/vocab.json`);
  const merges = new TextDecoder().decode(files.read(`${folder}/merges.txt`));
  return clipTokenizerJson(vocab, merges, `${files.name}/${folder}`);
}

function openTokenizer(json: JsonObject, config: JsonObject, where: string): Tokenizer {
  try {
    return new Tokenizer(json, config);
  } catch (cause) {
    throw new NibbleflowError(
      'InvalidModel',
      `the tokenizer cannot be used: ${cause instanceof Error ? cause.message : String(cause)}`,
      {
        where,
        cause,
      },
    );
  }
}

/** Special tokens are text, or objects with the text as `content`. */
function tokenText(token: unknown): string | undefined {
  if (typeof token === 'string') return token;
  const content = typeof token === 'object' && token !== null && 'content' in token ? token.content : undefined;
  return typeof content === 'string' ? content : undefined;
}
