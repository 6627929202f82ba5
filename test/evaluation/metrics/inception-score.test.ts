import { describe, expect, test } from 'vitest';
import { reorderedRows, rowsInMemory } from '../../../evaluation/features/feature-set.js';
import { inceptionScore, inceptionScoreMetric } from '../../../evaluation/metrics/inception-score.js';
import { float32 } from '../../../models/tensors/tensor.js';
import { goldenFloat32, goldenJson, goldenNpy } from '../golden.js';
import { metricContext, normalRows } from './metric-context.js';

interface Split {
  readonly inception_score_mean: number;
  readonly inception_score_std: number;
}
type Expected = Readonly<Record<'splits10_noshuffle' | 'splits10_shuffle_seed2020' | 'splits1', Split>>;

/** The golden set's own. */
const GOLDEN_RELATIVE = 1e-6;
const breathe = async () => undefined;

describe('the Inception score', () => {
  test.each(['is_203x60_notdivisible', 'is_500x10', 'is_confident'])(
    'of the golden case %s is the reference value',
    async (name) => {
      const folder = `metrics/inception_score/${name}`;
      const logits = rowsInMemory(goldenFloat32(`${folder}/logits.npy`));
      const order = Uint32Array.from(goldenNpy(`${folder}/permutation_seed2020.npy`).data as BigInt64Array, Number);
      const expected = goldenJson<Expected>(`${folder}/expected.json`);
      for (const [rows, splits, want] of [
        [logits, 10, expected.splits10_noshuffle],
        [reorderedRows(logits, order), 10, expected.splits10_shuffle_seed2020],
        [logits, 1, expected.splits1],
      ] as const) {
        const { mean, deviation } = await inceptionScore(rows, splits, breathe);
        expect(Math.abs(mean / want.inception_score_mean - 1)).toBeLessThan(GOLDEN_RELATIVE);
        expect(Math.abs(deviation - want.inception_score_std)).toBeLessThan(
          GOLDEN_RELATIVE * want.inception_score_mean,
        );
      }
    },
  );

  test('is the number of classes for sure and balanced answers, and 1 for equal ones', async () => {
    const sure = float32(
      [40, 8],
      Array.from({ length: 320 }, (_, i) => (Math.floor(i / 8) % 8 === i % 8 ? 500 : 0)),
    );
    expect((await inceptionScore(rowsInMemory(sure), 1, breathe)).mean).toBeCloseTo(8, 9);
    const equal = float32(
      [40, 8],
      Array.from({ length: 320 }, (_, i) => i % 8),
    );
    expect((await inceptionScore(rowsInMemory(equal), 4, breathe)).mean).toBeCloseTo(1, 12);
  });

  test('has the interval of its splits, and none of one split', async () => {
    const rows = normalRows(1, 200, 10, 0, 3);
    const [value] = await inceptionScoreMetric.compute(rows, rows, metricContext());
    expect(value?.low).toBeLessThan(value?.value ?? 0);
    expect(value?.interval).toBe('student-t');
    const [single] = await inceptionScoreMetric.compute(rows, rows, metricContext({ splits: 1 }));
    expect(single?.interval).toBeNull();
    expect(inceptionScoreMetric.obstacle?.(19, 19, metricContext().settings, 8)).toMatch(/10 splits/);
  });
});
