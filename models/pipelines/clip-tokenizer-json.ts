import { NibbleflowError } from '../../contracts/errors.js';
import type { JsonObject } from './pipeline-json.js';

const START = '<|startoftext|>';
const END = '<|endoftext|>';

/** What CLIP splits text into before byte pairs are merged: contractions, words, single digits, runs of other signs. */
const CLIP_PATTERN =
  "<\\|startoftext\\|>|<\\|endoftext\\|>|'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+";

/**
 * A tokenizer.json for the vocab.json and merges.txt of a CLIP tokenizer: NFC, white space collapsed, lower case, byte-level
 * byte-pair encoding with `</w>` at the end of words, `<|startoftext|>` … `<|endoftext|>` around the text.
 * @throws NibbleflowError InvalidModel when the vocabulary has no such tokens
 */
export function clipTokenizerJson(vocab: JsonObject, merges: string, where: string): JsonObject {
  const startId = vocab[START];
  const endId = vocab[END];
  if (typeof startId !== 'number' || typeof endId !== 'number') {
    throw new NibbleflowError('InvalidModel', `vocab.json has no ${START} and ${END}, so it is no CLIP vocabulary`, {
      where,
      fix: 'Add the tokenizer.json of the tokenizer.',
    });
  }
  const special = (id: number, content: string): JsonObject => ({
    id,
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  });
  return {
    version: '1.0',
    added_tokens: [special(startId, START), special(endId, END)],
    normalizer: {
      type: 'Sequence',
      normalizers: [
        { type: 'NFC' },
        { type: 'Replace', pattern: { Regex: '\\s+' }, content: ' ' },
        { type: 'Lowercase' },
      ],
    },
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [
        { type: 'Split', pattern: { Regex: CLIP_PATTERN }, behavior: 'Removed', invert: true },
        { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
      ],
    },
    post_processor: {
      type: 'RobertaProcessing',
      sep: [END, endId],
      cls: [START, startId],
      trim_offsets: false,
      add_prefix_space: false,
    },
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: END,
      continuing_subword_prefix: '',
      end_of_word_suffix: '</w>',
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab,
      merges: mergeLines(merges),
    },
  };
}

/** The lines of merges.txt that hold a pair; the first line is a version comment. */
function mergeLines(merges: string): string[] {
  const lines = merges.split(/\r?\n/);
  const body = lines[0]?.startsWith('#version') ? lines.slice(1) : lines;
  return body.filter((line) => line.trim() !== '');
}
