import { NibbleflowError } from '../../contracts/errors.js';
import type { Score } from '../../contracts/score.js';
import { extractorLabel } from '../../evaluation/features/extractor-spec.js';
import { canonicalOrder, type FeatureSet } from '../../evaluation/features/feature-set.js';
import type { PictureSource } from '../../evaluation/features/picture-source.js';
import type { ResizeMode } from '../../evaluation/features/resize-modes.js';
import { clipScores } from '../../evaluation/metrics/clip-score.js';
import { meanInterval } from '../../evaluation/statistics/paired-interval.js';
import type { Executor } from '../../models/executor.js';
import { float32 } from '../../models/tensors/tensor.js';
import type { FoundExtractor } from '../extractor-folder.js';
import type { LocalStore } from '../store/local-store.js';
import { openTextEncoder } from './clip-embeddings.js';
import { type ExtractionContext, extractFeatureSet } from './extract-feature-set.js';

/** Pairs whose embeddings are in memory at a time. */
const TILE = 1024;

export interface PromptScoring {
  readonly images: PictureSource;
  /** Their features, where those are at hand already. */
  readonly features?: FeatureSet;
  /** One for each picture, in the source's order. */
  readonly prompts: readonly string[];
  readonly extractor: FoundExtractor;
  readonly resize: ResizeMode;
  readonly executor: Executor;
  readonly store: LocalStore;
  readonly context: ExtractionContext;
  /** sha256 of the protocol; null without one. */
  readonly protocol: string | null;
}

/**
 * The CLIP score of pictures and their prompts, with Student's interval; null when the extractor has no text encoder. Features
 * of pictures are kept as for every metric; the score does not depend on the order of the pairs. Its name has the digest of both
 * encoders and the tokenizer.
 * @throws NibbleflowError InvalidInput when pictures and prompts are not equally many
 */
export async function promptScore(options: PromptScoring): Promise<Score | null> {
  const { images, prompts, extractor, executor, context, protocol } = options;
  if (prompts.length !== images.n) {
    throw new NibbleflowError('InvalidInput', `${images.n} pictures have ${prompts.length} prompts`);
  }
  const encoder = await openTextEncoder(extractor, executor);
  if (encoder === null) return null;
  try {
    const set = options.features ?? (await extractFeatureSet(options)).set;
    const order = canonicalOrder(images.keys);
    const values = new Float64Array(images.n);
    for (let first = 0; first < images.n; first += TILE) {
      const end = Math.min(images.n, first + TILE);
      const pictures = float32([end - first, set.pool.d], await set.pool.read(first, end));
      const texts = await encoder.embed(Array.from(order.subarray(first, end), (index) => prompts[index] as string));
      values.set(clipScores(pictures, texts), first);
      await context.breathe();
    }
    // Equal pictures with other prompts may change places: sorted values are summed in one order.
    const { mean, low, high, level } = meanInterval(values.sort());
    const label = extractorLabel({ name: extractor.spec.name, sha256: encoder.sha256, resize: options.resize });
    return {
      name: `clip-score[${label}]-${images.n}`,
      ...{ metric: 'clip-score', against: 'none', value: mean, low, high, level, interval: 'student-t' },
      ...{ n: images.n, referenceN: null, unit: 'x100', better: 'higher', floor: null, pValue: null },
      ...{ extractor: label, protocol, notes: [] },
    };
  } finally {
    await encoder.release();
  }
}
