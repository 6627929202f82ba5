import { describe, expect, it } from 'vitest';
import { NibbleflowError } from '../../../contracts/errors.js';
import { readPipeline } from '../../../models/pipelines/read-pipeline.js';
import { createTokenizer } from '../../../models/pipelines/tokenize.js';
import { changedFiles, pipelineFolder, projectJson, projectNpy } from './pipeline-folder.js';

interface ClipCase {
  readonly prompt: string;
  readonly input_ids: readonly number[];
  readonly unpadded: readonly number[];
}

interface SmallCase {
  readonly text: string;
  readonly input_ids: readonly number[];
  readonly attention_mask: readonly number[];
}

const clipFiles = pipelineFolder('test/golden/tokenizers/clip');
const CLIP_CASES = projectJson<ClipCase[]>('test/golden/tokenizers/clip/expected.json');
const SMALL_CASES = projectJson<SmallCase[]>('test/golden/pipelines/sd_text2img/reference/tokenizer_cases.json');

describe('createTokenizer from vocab.json and merges.txt', () => {
  const renamed = Object.fromEntries(clipFiles.paths().map((path) => [`tokenizer/${path}`, clipFiles.read(path)]));
  const files = changedFiles({ name: 'clip', paths: () => [], read: () => new Uint8Array(0) }, renamed);
  const tokenizer = createTokenizer({ files, tokenizer: { folder: 'tokenizer', maxLength: 77 } });

  it.each(CLIP_CASES)('gives the ids of CLIPTokenizer for $prompt', ({ prompt, input_ids, unpadded }) => {
    expect(tokenizer.encodePadded(prompt).ids).toEqual(input_ids);
    if (unpadded.length < 77) expect(tokenizer.encode(prompt)).toEqual(unpadded);
  });
});

describe('createTokenizer from tokenizer.json', () => {
  const small = pipelineFolder('test/golden/pipelines/sd_text2img');
  const pipeline = readPipeline(small);
  const tokenizer = createTokenizer(pipeline);

  it.each(SMALL_CASES)(
    'gives the padded ids and the mask of diffusers for $text',
    ({ text, input_ids, attention_mask }) => {
      const encoded = tokenizer.encodePadded(text);
      expect(encoded.ids).toEqual(input_ids);
      expect(encoded.length).toBe(attention_mask.reduce((sum, value) => sum + value, 0));
    },
  );

  it('builds the same ids from vocab.json and merges.txt', () => {
    const withoutJson = changedFiles(small, { 'tokenizer/tokenizer.json': null });
    const rebuilt = createTokenizer({ files: withoutJson, tokenizer: pipeline.tokenizer });
    for (const { text, input_ids } of SMALL_CASES) expect(rebuilt.encodePadded(text).ids, text).toEqual(input_ids);
  });

  it('gives the ids of the zoo pipeline', () => {
    const zoo = createTokenizer(readPipeline(pipelineFolder('models/zoo/emoji-t2i')));
    const { prompts } = projectJson<{ prompts: string[] }>('test/golden/emoji-t2i/case.json');
    const expected = Array.from(projectNpy('test/golden/emoji-t2i/input_ids.npy').data, Number);
    expect(prompts.flatMap((prompt) => zoo.encodePadded(prompt).ids)).toEqual(expected);
  });

  it.each([
    ['no files', { 'tokenizer/tokenizer.json': null, 'tokenizer/merges.txt': null }, 'neither tokenizer.json nor'],
    ['no padding token', { 'tokenizer/tokenizer_config.json': '{"model_max_length": 16}' }, 'no padding token'],
    ['an unknown padding token', { 'tokenizer/tokenizer_config.json': '{"pad_token": "<nothing>"}' }, '<nothing>'],
    ['an empty tokenizer.json', { 'tokenizer/tokenizer.json': '{}' }, 'cannot be used'],
    [
      'no CLIP vocabulary',
      { 'tokenizer/tokenizer.json': null, 'tokenizer/vocab.json': '{"a": 0}' },
      'no CLIP vocabulary',
    ],
  ])('says so when there is %s', (_, changes, message) => {
    const files = changedFiles(small, { 'tokenizer/special_tokens_map.json': null, ...changes });
    const attempt = (): unknown => createTokenizer({ files, tokenizer: pipeline.tokenizer });
    expect(attempt).toThrow(NibbleflowError);
    expect(attempt).toThrow(message);
  });

  it('refuses a pipeline without text', () => {
    expect(() => createTokenizer(readPipeline(pipelineFolder('test/golden/pipelines/ddpm_uncond')))).toThrow(
      'takes no prompts',
    );
  });
});
