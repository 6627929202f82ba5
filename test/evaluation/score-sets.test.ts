import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { scoreSchema } from '../../contracts/score.js';
import {
  canonicalOrder,
  type FeatureRows,
  type FeatureSet,
  reorderedRows,
  rowsInMemory,
} from '../../evaluation/features/feature-set.js';
import { partnerRows } from '../../evaluation/features/partner-rows.js';
import type { ResizeMode } from '../../evaluation/features/resize-modes.js';
import { type SetScoreRequest, scoreSets } from '../../evaluation/score-sets.js';
import { gaussianTensor, permutation } from '../../models/tensors/random.js';
import { float32 } from '../../models/tensors/tensor.js';
import { metricContext } from './metrics/metric-context.js';

const SHA = 'ab12cd34'.repeat(8);
const D = 5;
const ALL = ['frechet', 'kid', 'inception-score', 'prdc', 'mind', 'sliced-wasserstein', 'visual-dna', 'ood-rate'];
const FEW = { kidSubsets: 3, kidSubsetSize: 10, permutations: 20, projections: 20, splits: 3, neighbours: 3 };

interface Pictures {
  readonly keys: readonly string[];
  readonly pool: FeatureRows;
  readonly logits: FeatureRows;
}

/** Rows as an extractor gives them for pictures in the order of their files. */
function pictures(seed: number, n: number, shift = 0): Pictures {
  const pool = gaussianTensor(seed, 0, [n, D]);
  return {
    keys: Array.from({ length: n }, (_, i) => createHash('sha256').update(`${seed} ${i}`).digest('hex')),
    pool: rowsInMemory(
      float32(
        [n, D],
        pool.data.map((value) => value + shift),
      ),
    ),
    logits: rowsInMemory(gaussianTensor(seed, 1, [n, 7])),
  };
}

/** What the rest of the program makes of them, whatever the order of files. */
function canonical({ keys, pool, logits }: Pictures): FeatureSet {
  const order = canonicalOrder(keys);
  return {
    extractor: { name: 'tiny', sha256: SHA },
    keys: Array.from(order, (i) => keys[i] ?? ''),
    pool: reorderedRows(pool, order),
    logits: reorderedRows(logits, order),
  };
}

function inOrder({ keys, pool, logits }: Pictures, order: Uint32Array): Pictures {
  return {
    keys: Array.from(order, (i) => keys[i] ?? ''),
    pool: reorderedRows(pool, order),
    logits: reorderedRows(logits, order),
  };
}

function request(fake: FeatureSet, real: FeatureSet, changes: Partial<SetScoreRequest> = {}): SetScoreRequest {
  return { fake, real, against: 'float', metrics: ALL, context: metricContext(FEW), protocol: null, ...changes };
}

describe('scores of sets', () => {
  test('are the same, to the bit, whatever the order of the files', async () => {
    const [fake, real] = [pictures(1, 33, 0.3), pictures(2, 41)];
    const scores = await scoreSets(request(canonical(fake), canonical(real)));
    await fc.assert(
      fc.asyncProperty(fc.nat(1000), async (seed) => {
        const shuffled = inOrder(fake, permutation(seed, 0, 33));
        const other = inOrder(real, permutation(seed, 1, 41));
        expect(await scoreSets(request(canonical(shuffled), canonical(other)))).toEqual(scores);
      }),
      { numRuns: 6, seed: 3 },
    );
  });

  test('are valid, named with extractor and n, and say what small sets are', async () => {
    const scores = await scoreSets(
      request(canonical(pictures(1, 33)), canonical(pictures(2, 41)), {
        protocol: 'f'.repeat(64),
        floor: { kid: 0.25 },
      }),
    );
    for (const score of scores) expect(scoreSchema.safeParse(score).error).toBeUndefined();
    const by = (metric: string) => scores.find((score) => score.metric === metric);
    expect(scores.map(({ metric }) => metric)).toEqual([
      ...['frechet', 'kid', 'kid-full', 'inception-score', 'precision', 'recall', 'density', 'coverage'],
      ...['mind', 'sliced-wasserstein', 'visual-dna', 'ood-rate'],
    ]);
    expect(by('frechet')?.name).toBe('frechet[tiny@ab12cd34]-33');
    expect(by('kid')).toMatchObject({ n: 33, referenceN: 41, floor: 0.25, extractor: 'tiny@ab12cd34', level: 0.95 });
    expect(by('kid')?.pValue).toBeGreaterThan(0);
    expect(by('inception-score')).toMatchObject({ against: 'none', referenceN: null, floor: null });
    for (const metric of ['frechet', 'kid', 'precision', 'mind', 'visual-dna', 'ood-rate']) {
      expect(by(metric)?.notes.filter((note) => note.startsWith('n is small'))).toHaveLength(1);
    }
    expect(by('inception-score')?.notes.join()).not.toMatch(/n is small/);
  });

  test('are called FID of the published Inception alone', async () => {
    const sets = [canonical(pictures(1, 33)), canonical(pictures(2, 33))] as const;
    const metrics = ['frechet', 'kid'];
    const [frechet, kid] = await scoreSets(request(...sets, { metrics, isPublishedInception: true }));
    expect(frechet?.name).toBe('fid-33');
    expect(kid?.name).toBe('kid[tiny@ab12cd34]-33');
  });

  test('are named after the resizing, which makes other numbers of the same pictures', async () => {
    const resized = (set: FeatureSet, resize: ResizeMode): FeatureSet => ({
      ...set,
      extractor: { ...set.extractor, resize },
    });
    const [fake, real] = [canonical(pictures(1, 33)), canonical(pictures(2, 33))];
    const namesOf = async (mode: ResizeMode) => {
      const changes = { metrics: ['frechet', 'kid'], isPublishedInception: true };
      const scores = await scoreSets(request(resized(fake, mode), resized(real, mode), changes));
      return scores.map(({ name }) => name);
    };
    expect(await namesOf('extractor')).toEqual(['fid-33', 'kid[tiny@ab12cd34]-33', 'kid-full[tiny@ab12cd34]-33']);
    expect((await namesOf('clean'))[0]).toBe('fid[clean]-33');
    expect(await namesOf('legacy')).toEqual([
      'fid[legacy]-33',
      'kid[tiny@ab12cd34:legacy]-33',
      'kid-full[tiny@ab12cd34:legacy]-33',
    ]);
    const mixed = scoreSets(request(resized(fake, 'clean'), real, { metrics: ['frechet'] }));
    await expect(mixed).rejects.toThrow(/tiny@ab12cd34:clean and tiny@ab12cd34/);
  });

  test('share one pass over the pairs, with the values they have alone', async () => {
    const sets = [canonical(pictures(1, 30)), canonical(pictures(2, 30))] as const;
    const together = await scoreSets(request(...sets, { metrics: ['kid', 'prdc', 'ood-rate'] }));
    const alone = [];
    for (const id of ['kid', 'prdc', 'ood-rate']) alone.push(...(await scoreSets(request(...sets, { metrics: [id] }))));
    expect(together).toEqual(alone);
  });

  test('are null with a reason when a metric cannot be had, without hindering the others', async () => {
    const { logits: _, ...noLogits } = canonical(pictures(1, 3));
    const scores = await scoreSets(
      request(noLogits, canonical(pictures(2, 40)), { metrics: ['inception-score', 'prdc', 'visual-dna', 'lpips'] }),
    );
    const by = new Map(scores.map((score) => [score.metric, score]));
    expect(by.get('inception-score')).toMatchObject({ value: null, low: null, notes: ['tiny gives no logits'] });
    for (const metric of ['precision', 'recall', 'density', 'coverage']) {
      expect(by.get(metric)?.value).toBeNull();
      expect(by.get(metric)?.notes.join()).toMatch(/3 rows have no 3 nearest neighbours/);
    }
    expect(by.get('visual-dna')?.value).toBeGreaterThan(0);
    expect(by.has('lpips')).toBe(false);
  });

  test('use partners of equal seeds for the permutation test, whatever the canonical order did to them', async () => {
    const float = pictures(1, 60);
    const noise = gaussianTensor(9, 0, [60, D]).data;
    const moved = (await float.pool.read(0, 60)).map((value, i) => value + 0.05 * (noise[i] ?? 0) + 0.1);
    const quantized = { ...pictures(5, 60), pool: rowsInMemory(float32([60, D], moved)) };
    const sets = [canonical(quantized), canonical(float)] as const;
    const settings = { ...FEW, permutations: 200 };
    const p = async (partners?: Uint32Array) => {
      const context = { ...metricContext(settings), ...(partners === undefined ? {} : { partners }) };
      return (await scoreSets(request(...sets, { metrics: ['kid'], context })))[0];
    };
    const paired = await p(partnerRows(quantized.keys, float.keys));
    const shuffled = await p();
    expect(paired?.pValue).toBeLessThan(0.05);
    expect(shuffled?.pValue).toBeGreaterThan(0.5);
    expect(shuffled?.notes.join()).toMatch(/cautious test/);
    expect(paired?.notes.join()).not.toMatch(/cautious test/);
  });

  test('refuse single pictures, other extractors, numbers that are not finite and unknown metrics', async () => {
    const good = canonical(pictures(2, 20));
    const ask = (fake: FeatureSet, metrics = ['kid']) => scoreSets(request(fake, good, { metrics }));
    await expect(ask(canonical(pictures(1, 1)))).rejects.toThrow(/the evaluated set has 1 pictures/);
    await expect(ask({ ...good, extractor: { name: 'other', sha256: 'cd'.repeat(32) } })).rejects.toThrow(
      /tiny@ab12cd34|other@cdcdcdcd/,
    );
    const broken = pictures(3, 20);
    const data = (await broken.pool.read(0, 20)).slice();
    data[7 * D + 2] = Number.NaN;
    data[7 * D + 3] = Number.NaN;
    data[9 * D] = Number.POSITIVE_INFINITY;
    const set = canonical({ ...broken, pool: rowsInMemory(float32([20, D], data)) });
    const first = [broken.keys[7], broken.keys[9]].sort()[0];
    await expect(ask(set)).rejects.toMatchObject({
      kind: 'InvalidInput',
      message: expect.stringMatching(/2 pictures have numbers that are not finite/),
      where: expect.stringContaining(first ?? ''),
    });
    await expect(ask(good, ['kids'])).rejects.toThrow(/there is no metric kids/);
  });
});
