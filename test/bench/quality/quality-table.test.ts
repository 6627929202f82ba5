import { describe, expect, it } from 'vitest';
import type { QualityRow } from '../../../bench/quality/published-rows.js';
import { qualityMarkdown } from '../../../bench/quality/quality-report.js';
import { claimTable, qualityTable, tableRow } from '../../../bench/quality/quality-table.js';

const ROW: QualityRow = {
  label: 'w4a4, finetuned',
  psnrDb: 23.456,
  psnrTenthPercentileDb: 21.04,
  latentSqnrDb: 14.21,
  frechetToFloat: 0.31234,
  frechetToReference: 0.9,
  denoiserRelativeMse: 0.0398765,
  macsAtFourBits: 0.9894,
  floatBranchMacs: null,
  minutes: 4.26,
};

describe('the quality table', () => {
  it('shows shipped files with bytes and ratio', () => {
    const lines = qualityTable([tableRow(ROW, { denoiserBytes: 2_512_345, ratio: 6.4321 })]).split('\n');
    expect(lines).toHaveLength(3);
    expect(lines[2]).toBe(
      '| w4a4, finetuned | 23.46 (21.0) | 14.2 | 0.3123 | 0.900 | 0.03988 | 98.9 % | – | 2512345 | 1/6.43 | 4.3 |',
    );
    expect(lines[1]?.split('|')).toHaveLength(lines[0]?.split('|').length ?? 0);
  });

  it('shows what was not measured as a dash, a float branch, and minutes that are only a part', () => {
    const line = qualityTable([
      tableRow(
        { ...ROW, psnrTenthPercentileDb: null, denoiserRelativeMse: null, macsAtFourBits: null, floatBranchMacs: 0.38 },
        { minutesAreComplete: false },
      ),
    ]).split('\n')[2];
    expect(line).toBe('| w4a4, finetuned | 23.46 | 14.2 | 0.3123 | 0.900 | – | – | +38 % | – | – | > 4.3 |');
  });

  it('marks claims that are not met', () => {
    const claims = [
      { recipe: 'a', claim: 'b', measured: '0.5', met: true },
      { recipe: 'a', claim: 'c', measured: '0.7', met: false },
    ];
    expect(claimTable(claims).split('\n').slice(2)).toEqual(['| a | b | 0.5 | yes |', '| a | c | 0.7 | **no** |']);
  });
});

describe('the report', () => {
  const report = {
    date: '2026-01-02',
    machine: 'a processor, 2 cores',
    protocol: 'p',
    samples: 64,
    triples: 128,
    isWhole: false,
    floatPictures: { largest: 1, differing: 1234, values: 196_608 },
    floatToReference: 0.2171,
    peakBytes: { engine: 8e8, bench: 4e8 },
    rows: [tableRow(ROW)],
    claims: [],
    published: { source: 'somebody', samples: 256, rows: [tableRow({ ...ROW, label: 'theirs' })] },
    notes: [],
  };

  it('says what ran, how well the float pictures agree, and that a part does not compare', () => {
    const text = qualityMarkdown(report);
    expect(text).toContain('A part of the protocol only');
    expect(text).toContain('1,234 of 196,608 values differ, by at most 1 level');
    expect(text).toContain('together at most 1.20 GB');
    expect(text).toContain('Source: somebody.');
    expect(text.indexOf('theirs')).toBeGreaterThan(text.indexOf('somebody'));
  });

  it('does not warn about the whole protocol', () => {
    expect(qualityMarkdown({ ...report, isWhole: true })).not.toContain('A part of');
  });
});
