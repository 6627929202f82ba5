import { describe, expect, test } from 'vitest';
import type { PictureScores } from '../../../contracts/picture-scores.js';
import { compareSides } from '../../../evaluation/compare/compare-sides.js';
import type { ComparedSide } from '../../../evaluation/compare/comparison.js';
import { differingSettings } from '../../../evaluation/compare/differing-settings.js';
import { pairedInterval } from '../../../evaluation/statistics/paired-interval.js';
import { score, scoreList } from '../report/score-fixture.js';

const PSNR = [20, 22, 24, 27];
const FACTS = {
  seed: 1,
  steps: 20,
  guidance: 1.5,
  prompts: 'p',
  float: 'f',
  reference: 'r',
  resize: 'clean',
  settings: '{}',
};

function pictures(psnr: readonly number[], changes: Partial<PictureScores> = {}): PictureScores {
  const prompts = psnr.map((_, i) => `prompt ${i}`);
  return {
    schemaVersion: 1,
    prompts,
    seed: 1,
    steps: 20,
    guidance: 1.5,
    float: 'f',
    values: { psnr: [...psnr] },
    ...changes,
  };
}

function side(label: string, changes: Partial<ComparedSide> = {}): ComparedSide {
  const parts = { scores: scoreList(), pictures: null, facts: FACTS, settings: {}, bytes: null, seconds: null };
  return { label, kind: 'evaluation', ...parts, ...changes };
}

const found = (comparison: ReturnType<typeof compareSides>, metric: string, against = 'float') => {
  const [first] = comparison.scores.filter((row) => row.metric === metric && row.against === against);
  if (first === undefined) throw new Error(`no ${metric}`);
  return first;
};

describe('compareSides', () => {
  test('equal sides differ in nothing', () => {
    const { scores, onlyLeft, onlyRight, settings, warnings } = compareSides(side('a'), side('b'));
    expect(scores.filter(({ delta }) => delta !== null).every(({ delta }) => delta === 0)).toBe(true);
    expect([onlyLeft, onlyRight, settings]).toEqual([[], [], []]);
    expect(warnings).toEqual(['not known on both sides, and so not checked: compared calls of the denoiser']);
  });

  test('the same pictures are compared pair by pair', () => {
    const other = PSNR.map((value, i) => value + 1 + 0.1 * i);
    const psnr = found(
      compareSides(side('a', { pictures: pictures(PSNR) }), side('b', { pictures: pictures(other) })),
      'psnr',
    );
    const { mean, low, high } = pairedInterval(PSNR, other);
    expect(psnr).toMatchObject({ delta: mean, low, high, interval: 'paired-student-t', unlike: [] });
    expect(high - low).toBeLessThan(1);
  });

  test('pictures of other seeds or prompts are not paired', () => {
    for (const changes of [{ seed: 2 }, { prompts: ['a', 'b', 'c', 'd'] }, { steps: 10 }, { guidance: 1 }]) {
      const right = side('b', { pictures: pictures(PSNR, changes) });
      const { interval } = found(compareSides(side('a', { pictures: pictures(PSNR) }), right), 'psnr');
      expect(interval).toBe('independent');
    }
  });

  test('without pictures the interval comes from both intervals', () => {
    const shifted = scoreList().map((row) =>
      row.metric === 'psnr' ? { ...row, value: 26.25, low: 25.75, high: 26.75 } : row,
    );
    const psnr = found(compareSides(side('a'), side('b', { scores: shifted })), 'psnr');
    expect(psnr).toMatchObject({ delta: 3, interval: 'independent', level: 0.95 });
    expect((psnr.high ?? 0) - 3).toBeCloseTo(Math.hypot(0.5, 0.5), 12);
    expect(3 - (psnr.low ?? 0)).toBeCloseTo(Math.hypot(0.5, 0.5), 12);
  });

  test('scores are not subtracted when what they depend on differs, and say what', () => {
    const unlike = (changes: Partial<typeof FACTS>) =>
      compareSides(side('a'), side('b', { facts: { ...FACTS, ...changes } }));
    for (const changes of [{ seed: 2 }, { steps: 10 }, { prompts: 'q' }, { guidance: 2 }]) {
      for (const row of unlike(changes).scores) {
        expect(row.delta).toBeNull();
        expect(row.unlike[0]).toContain(Object.keys(changes)[0]);
      }
    }
    const resize = unlike({ resize: 'legacy' });
    expect(found(resize, 'frechet')).toMatchObject({ delta: null, unlike: ['resize: clean and legacy'] });
    expect(found(resize, 'psnr').delta).toBe(0);
    const reference = unlike({ reference: 's' });
    expect(found(reference, 'frechet', 'reference').unlike).toEqual(['reference: r and s']);
    expect(found(reference, 'frechet').delta).toBe(0);
    expect(found(unlike({ float: 'g' }), 'psnr').unlike).toEqual(['float model: f and g']);
    expect(found(unlike({ settings: '{"seed":1}' }), 'kid').unlike[0]).toContain('settings of metrics');
  });

  test('another n or extractor is another number', () => {
    const other = scoreList().map((row) =>
      row.metric === 'frechet' ? { ...row, name: 'frechet[x@0]-128', n: 128, referenceN: 128, extractor: 'x@0' } : row,
    );
    const row = found(compareSides(side('a'), side('b', { scores: other })), 'frechet');
    expect(row.delta).toBeNull();
    expect(row.unlike).toEqual(['n: 256 and 128', 'extractor: cifar10-resnet@1a2b3c4d and x@0']);
  });

  test('bare scores of another resizing are other numbers', () => {
    const bare = (name: string, extractor: string) =>
      side('s', { facts: {}, scores: [score({ name, metric: 'frechet', extractor, protocol: null })] });
    const [plain, clean] = [
      bare('fid-256', 'inception-2015@0a1b2c3d'),
      bare('fid[clean]-256', 'inception-2015@0a1b2c3d:clean'),
    ];
    expect(compareSides(plain, plain).scores[0]?.delta).toBe(0);
    expect(compareSides(plain, clean).scores[0]).toMatchObject({
      delta: null,
      unlike: ['extractor: inception-2015@0a1b2c3d and inception-2015@0a1b2c3d:clean'],
    });
  });

  test('bare scores of other protocols are not subtracted either', () => {
    const bare = (protocol: string | null) =>
      side('s', { facts: {}, scores: [score({ name: 'k-256', metric: 'kid', protocol })] });
    const comparison = compareSides(bare('a'.repeat(64)), bare('b'.repeat(64)));
    expect(comparison.scores[0]).toMatchObject({ delta: null, unlike: ['protocol: aaaaaaaaaaaa and bbbbbbbbbbbb'] });
    expect(comparison.warnings[0]).toContain('the protocols differ (aaaaaaaaaaaa and bbbbbbbbbbbb)');
    expect(compareSides(bare(null), bare(null)).scores[0]?.delta).toBe(0);
  });

  test('scores of one side are said to be so, and lost values are not subtracted', () => {
    const few = scoreList().filter(({ metric }) => metric !== 'kid');
    const comparison = compareSides(side('a'), side('b', { scores: few }));
    expect(comparison.onlyLeft.map(({ metric }) => metric)).toEqual(['kid']);
    expect(comparison.onlyRight).toEqual([]);
    expect(found(comparison, 'inception-score', 'none').unlike).toEqual(['one side has no value']);
  });
});

describe('differingSettings', () => {
  test('names leaves by dotted paths, with both values', () => {
    const left = { recipe: { weights: { bits: 4 }, transforms: ['a'], phases: [{ steps: 1 }] }, only: true };
    const right = { recipe: { weights: { bits: 8 }, transforms: ['a', 'b'], phases: [{ steps: 2 }, { steps: 3 }] } };
    expect(differingSettings(left, right)).toEqual([
      { path: 'only', left: true },
      { path: 'recipe.phases.0.steps', left: 1, right: 2 },
      { path: 'recipe.phases.1.steps', right: 3 },
      { path: 'recipe.transforms', left: ['a'], right: ['a', 'b'] },
      { path: 'recipe.weights.bits', left: 4, right: 8 },
    ]);
    expect(differingSettings(left, structuredClone(left))).toEqual([]);
  });
});
