import type { Score } from '../contracts/score.js';
import type { FeatureSet } from '../evaluation/features/feature-set.js';
import { canonicalOrder } from '../evaluation/features/feature-set.js';
import type { PictureSource } from '../evaluation/features/picture-source.js';
import { clipScores } from '../evaluation/metrics/clip-score.js';
import { meanInterval } from '../evaluation/statistics/paired-interval.js';
import type { Executor } from '../models/executor.js';
import { float32, sliceRows } from '../models/tensors/tensor.js';
import type { FoundExtractor } from './extractor-folder.js';
import { openTextEncoder } from './features/clip-embeddings.js';

/** Pictures embedded and read at a time. */
const AT_ONCE = 256;
const LEVEL = 0.95;

/** CLIP score of pictures and their prompts; empty when the extractor has no text encoder. */
export async function clipScoreOf(
  extractor: FoundExtractor,
  executor: Executor,
  { images, features }: { readonly images: PictureSource; readonly features: FeatureSet },
  prompts: readonly string[],
): Promise<Score[]> {
  const encoder = await openTextEncoder(extractor, executor);
  if (encoder === null) return [];
  try {
    const { n, d } = features.pool;
    const order = canonicalOrder(images.keys);
    const values = new Float64Array(n);
    for (let first = 0; first < n; first += AT_ONCE) {
      const end = Math.min(n, first + AT_ONCE);
      const pictures = float32([end - first, d], await features.pool.read(first, end));
      const texts = await encoder.embed(Array.from(order.subarray(first, end), (index) => prompts[index] ?? ''));
      values.set(clipScores(pictures, sliceRows(texts, 0, end - first)), first);
    }
    const { mean, low, high } = meanInterval(values.sort(), LEVEL);
    const label = `${extractor.spec.name}@${encoder.sha256.slice(0, 8)}`;
    return [
      {
        ...{
          name: `clip-score[${label}]-${n}`,
          metric: 'clip-score',
          against: 'none',
          value: mean,
          low,
          high,
          level: LEVEL,
        },
        ...{ interval: 'student-t', n, referenceN: null, unit: '', better: 'higher', floor: null, pValue: null },
        ...{ extractor: label, protocol: null, notes: [] },
      },
    ];
  } finally {
    await encoder.release();
  }
}
