import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type ProtocolScores, rowOf } from '../../../bench/quality/protocol-scores.js';
import {
  bestFullyCovered,
  isFullyCovered,
  type PublishedRows,
  publishedRowsSchema,
  type QualityRow,
} from '../../../bench/quality/published-rows.js';
import { claimsOf } from '../../../bench/quality/quality-claims.js';
import { packageRoot } from '../../../cli/package-root.js';

const BASELINES = join(packageRoot(), 'bench/protocols/emoji-t2i-256/baselines.json');

function scores(psnrDb: readonly number[], denoiserRelativeMse: number | null): ProtocolScores {
  return { psnrDb, latentSqnrDb: 13, frechetToFloat: 0.5, frechetToReference: 1, denoiserRelativeMse };
}

function row(change: Partial<QualityRow> = {}): QualityRow {
  const cost = { macsAtFourBits: 0.989, minutes: 0 };
  return { ...rowOf('a row', scores([22, 24], 0.05), cost), ...change };
}

function published(rows: readonly QualityRow[], samples = 4): PublishedRows {
  return { source: 'a test', samples, rows: [...rows] };
}

describe('the published rows', () => {
  const file = publishedRowsSchema.parse(JSON.parse(readFileSync(BASELINES, 'utf8')));

  it('say who measured them', () => {
    expect(file.source).toBe('own torch implementations of the published methods, simulated quantization');
    expect(file.samples).toBe(256);
  });

  it('have their best full-coverage row without a float branch at 23.22 dB, below rows that are excluded', () => {
    expect(bestFullyCovered(file.rows)?.psnrDb).toBe(23.22);
    const better = file.rows.filter(({ psnrDb }) => psnrDb > 23.22);
    expect(better.length).toBeGreaterThanOrEqual(5);
    expect(better.some(isFullyCovered)).toBe(false);
  });
});

describe('full coverage', () => {
  it('needs 98 % of the multiply-adds at four bits', () => {
    expect(isFullyCovered(row({ macsAtFourBits: 0.98 }))).toBe(true);
    expect(isFullyCovered(row({ macsAtFourBits: 0.979 }))).toBe(false);
    expect(isFullyCovered(row({ macsAtFourBits: null }))).toBe(false);
  });

  it('is not given to rows with a float branch', () => {
    expect(isFullyCovered(row({ floatBranchMacs: 0.38 }))).toBe(false);
  });

  it('has no best row where nobody has it', () => {
    expect(bestFullyCovered([row({ macsAtFourBits: 0.2 })])).toBeUndefined();
  });
});

describe('the claims', () => {
  const plain = scores([19, 20.5, 21, 22], 0.1);
  const before = scores([20, 21, 22, 23], 0.08);
  const good = scores([21, 22.1, 23, 23.9], 0.04);
  const best = published([row({ psnrDb: 21.9 }), row({ psnrDb: 21 }), row({ psnrDb: 40, macsAtFourBits: 0.2 })]);
  const line = (change: Partial<QualityRow> = {}, minutesAreComplete = true) => ({
    ...row({ psnrDb: 22.5, minutes: 12, ...change }),
    minutesAreComplete,
  });
  const met = (shipped: ProtocolScores, of = line()) =>
    claimsOf({ recipe: 'r', plain, before, shipped, row: of }, best).map((claim) => claim.met);

  it('are met by better pictures than plain rounding, less error, a row above the best, and time', () => {
    expect(met(good)).toEqual([true, true, true, true, true]);
  });

  it('count an error ratio up to 0.6', () => {
    expect(met(scores([21, 22.1, 23, 23.9], 0.0479))[1]).toBe(true);
    expect(met(scores([21, 22.1, 23, 23.9], 0.0481))[1]).toBe(false);
  });

  it('are not met by an error that was not measured', () => {
    expect(met(scores([21, 22.1, 23, 23.9], null))[1]).toBe(false);
  });

  it('ask the whole interval of the paired difference above 0, not its mean', () => {
    // Differences 3, −1, 3, −1: mean 1, deviation 2.31, half width 3.18 · 2.31 / 2 = 3.67.
    const shipped = scores([23, 20, 25, 22], 0.04);
    const noisy = claimsOf({ recipe: 'r', plain: null, before, shipped, row: line() }, best)[1];
    expect(noisy?.met).toBe(false);
    expect(noisy?.measured).toBe('+1.00 dB [−2.67, +4.67], n = 4');
  });

  it('compare what is shipped with the best row, and do not count it without coverage', () => {
    expect(met(good, line({ psnrDb: 21.9 }))[3]).toBe(false);
    expect(met(good, line({ psnrDb: 30, macsAtFourBits: 0.234 }))[3]).toBe(false);
  });

  it('give every recipe 30 minutes and quest 10, and count no time that is only partly known', () => {
    const minutesOf = (recipe: string, of = line()) =>
      claimsOf({ recipe, plain, before, shipped: good, row: of }, best).at(-1);
    expect(minutesOf('r', line({ minutes: 31 }))?.met).toBe(false);
    expect(minutesOf('quest')).toMatchObject({ met: false, claim: 'quantized within 10 minutes' });
    expect(minutesOf('r', line({}, false))).toMatchObject({ met: false, measured: 'more than 12.0 minutes' });
  });

  it('leave out the comparisons that were not made', () => {
    const claims = claimsOf({ recipe: 'r', plain: null, before: null, shipped: good, row: line() }, best);
    expect(claims.map(({ met: isMet }) => isMet)).toEqual([true, true]);
  });

  it('hold a recipe with a float branch against rows without one, 3 dB better, and against rows with one', () => {
    const rows = published([
      row({ psnrDb: 21.9 }),
      row({ psnrDb: 25, floatBranchMacs: 0.38 }),
      row({ psnrDb: 30, floatBranchMacs: 0.1, macsAtFourBits: 0.2 }),
    ]);
    const claimsAt = (change: Partial<QualityRow>) =>
      claimsOf(
        { recipe: 'r', plain: null, before: null, shipped: good, row: line({ floatBranchMacs: 0.1, ...change }) },
        rows,
      );
    const metAt = (change: Partial<QualityRow>) =>
      claimsAt(change)
        .slice(0, 2)
        .map((claim) => claim.met);
    expect(metAt({ psnrDb: 25 })).toEqual([true, true]);
    expect(metAt({ psnrDb: 24.95 })).toEqual([true, false]);
    expect(metAt({ psnrDb: 24.8 })).toEqual([false, false]);
    expect(metAt({ psnrDb: 25, floatBranchMacs: 0.11 })).toEqual([false, false]);
    expect(metAt({ psnrDb: 25, macsAtFourBits: 0.97 })).toEqual([false, false]);
    expect(claimsAt({ psnrDb: 25 })[1]?.claim).toBe(
      'same-seed PSNR of at least 25.00 dB (the full-coverage row with a branch of +38 %)',
    );
  });

  it('say when the number of pictures is not that of the published rows', () => {
    const scored = { recipe: 'r', plain: null, before: null, shipped: good, row: line() };
    const claims = claimsOf(scored, { ...best, samples: 256 });
    expect(claims[0]?.measured).toBe('22.50 dB, not finetuned, n = 4, not 256');
  });
});
