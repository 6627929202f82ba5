import { describe, expect, it } from 'vitest';
import { type ExtractorSpec, parseExtractorSpec } from '../../../../evaluation/features/extractor-spec.js';
import {
  inceptionSpec,
  isPublishedInception,
  PUBLISHED_INCEPTION_FILE,
  PUBLISHED_INCEPTION_NAME,
  PUBLISHED_INCEPTION_SHA256,
} from '../../../../evaluation/features/inception/published-inception.js';
import { inputTransform } from '../../../../evaluation/features/resize-modes.js';

const MODEL = 'ab'.repeat(32);
const spec = inceptionSpec(PUBLISHED_INCEPTION_NAME, PUBLISHED_INCEPTION_FILE, {
  weights: PUBLISHED_INCEPTION_SHA256,
  model: MODEL,
});

describe('the name FID', () => {
  it('is for the published weights in their network, also when read back from a file', () => {
    expect(PUBLISHED_INCEPTION_SHA256.slice(0, 8)).toBe(/-([0-9a-f]{8})\.pth$/.exec(PUBLISHED_INCEPTION_FILE)?.[1]);
    expect(isPublishedInception(parseExtractorSpec(JSON.parse(JSON.stringify(spec))), MODEL)).toBe(true);
  });

  const input = spec.input;
  it.each<[string, ExtractorSpec, string?]>([
    ['other weights', { ...spec, provenance: { ...spec.provenance, sha256: MODEL } }],
    ['no provenance', { ...spec, provenance: undefined }],
    ['a provenance without a model', { ...spec, provenance: { sha256: PUBLISHED_INCEPTION_SHA256 } }],
    ['another model', spec, 'cd'.repeat(32)],
    ['another name', { ...spec, name: 'mine' }],
    ['another resize', { ...spec, input: { ...input, resize: 'pil-bicubic' } }],
    ['another range', { ...spec, input: { ...input, range: [0, 1] } }],
    ['another range of clean', { ...spec, input: { ...input, modes: { ...input.modes, clean: { range: [0, 1] } } } }],
    ['another size', { ...spec, input: { ...input, size: [256, 256] } }],
    ['another output', { ...spec, outputs: { ...spec.outputs, features: { name: 'logits', dimension: 1008 } } }],
  ])('is not for %s', (_, other, model = MODEL) => {
    expect(isPublishedInception(other, model)).toBe(false);
  });

  it('goes with the three published ways to prepare pictures', () => {
    const ends = (mode: 'extractor' | 'clean' | 'legacy'): unknown => {
      const { kernel, ranges } = inputTransform(spec, mode);
      return [kernel, ...(ranges[0] ?? [])];
    };
    expect(ends('extractor')).toEqual(['tf1-bilinear', -1, (255 - 128) / 128]);
    expect(ends('clean')).toEqual(['pil-bicubic-float', -1, (255 - 128) / 128]);
    expect(ends('legacy')).toEqual(['torch-bilinear', -1, 1]);
  });
});
