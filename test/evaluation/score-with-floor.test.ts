import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { canonicalOrder, type FeatureSet, reorderedRows, rowsInMemory } from '../../evaluation/features/feature-set.js';
import { scoreWithFloor } from '../../evaluation/score-with-floor.js';
import { gaussianTensor } from '../../models/tensors/random.js';
import { metricContext } from './metrics/metric-context.js';

/** Many features: distances of draws are then alike. */
const D = 32;
/** How far two distances of equal n and kind are apart: two draws of 100 vary by about 0.1 each. */
const ALIKE = 0.25;

/** Pictures of one kind in canonical order: with other seeds as far from each other as two draws are. */
function draw(seed: number, n: number): FeatureSet {
  const keys = Array.from({ length: n }, (_, i) => createHash('sha256').update(`${seed} ${i}`).digest('hex'));
  const order = canonicalOrder(keys);
  return {
    extractor: { name: 'tiny', sha256: 'ab12cd34'.repeat(8) },
    keys: Array.from(order, (i) => keys[i] ?? ''),
    pool: reorderedRows(rowsInMemory(gaussianTensor(seed, 0, [n, D])), order),
  };
}

const request = (fake: FeatureSet, real: FeatureSet, metrics = ['frechet', 'kid', 'mind']) => ({
  ...{ fake, real, metrics, protocol: null },
  context: metricContext({ kidSubsets: 4, kidSubsetSize: 20, projections: 32, permutations: 0 }),
});

/** What the note about halves says: n, and the distance of as many scored pictures. */
const NOTE =
  /two random halves of the reference against each other, n = (\d+) each; \1 of the scored pictures are ([\d.e−-]+) from/;

describe('the noise floor of a score', () => {
  test('is of halves, and stands beside what as many of the scored pictures are at that n', async () => {
    const [scored, reference] = [draw(1, 400), draw(2, 200)];
    const [frechet] = await scoreWithFloor(request(scored, reference));
    const [, n, same] = NOTE.exec(frechet?.notes.join('\n') ?? '') ?? [];
    expect(n).toBe('100');
    // Pictures of the reference's own kind. At equal n they are as far as halves are from each other; at their own n they
    // seem nearer, which is n alone: what a reader would take for a model better than the noise.
    const [value, floor] = [frechet?.value ?? 0, frechet?.floor ?? 0];
    expect(value).toBeLessThan(0.75 * floor);
    expect(Math.abs(Number(same) / floor - 1)).toBeLessThan(ALIKE);
  });

  test('has no more pictures than were scored', async () => {
    const scores = await scoreWithFloor(request(draw(1, 60), draw(2, 500)));
    for (const { notes } of scores) expect(NOTE.exec(notes.join('\n'))?.[1]).toBe('60');
  });

  test('is left out below 25 pictures, and of metrics that look at one set', async () => {
    for (const { floor, notes } of await scoreWithFloor(request(draw(1, 60), draw(2, 49)))) {
      expect(floor).toBeNull();
      expect(notes.join()).not.toMatch(/halves/);
    }
    const logits = (set: FeatureSet): FeatureSet => ({ ...set, logits: set.pool });
    const [alone] = await scoreWithFloor(request(logits(draw(1, 60)), logits(draw(2, 60)), ['inception-score']));
    expect(alone).toMatchObject({ metric: 'inception-score', floor: null });
    expect(alone?.notes.join()).not.toMatch(/halves/);
  });
});
