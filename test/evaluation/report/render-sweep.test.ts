import { describe, expect, it } from 'vitest';
import { renderSweep, type SweepRow } from '../../../evaluation/report/render-sweep.js';

const HOSTILE = '<script>alert(1)</script>"\'&';

function row(change: Partial<SweepRow>): SweepRow {
  return {
    ...{ name: 'w8a8', psnrDb: 40, relativeMse: 0.001, frechet: 0.01, denoiserBytes: 4e6, floatDenoiserBytes: 16e6 },
    ...{ workSeconds: 60, onFront: true, message: '', folder: 'w8a8' },
    ...change,
  };
}

function page(rows: readonly SweepRow[]): string {
  return renderSweep({ pipeline: HOSTILE, samples: 64, parallel: 2, workflowId: HOSTILE, rows });
}

describe('the page of a sweep', () => {
  it('shows a dot and a row for each run, the front in another colour, and tells of runs that failed', () => {
    const failed = row({
      name: 'bad',
      psnrDb: null,
      denoiserBytes: null,
      workSeconds: null,
      message: 'no',
      onFront: false,
    });
    const text = page([row({}), row({ name: 'w4a4', psnrDb: 24, onFront: false }), failed]);
    expect(text.match(/<circle/g)).toHaveLength(2);
    expect(text.match(/dot series-after/g)).toHaveLength(1);
    expect(text).toContain('1 of 3 runs failed');
    expect(text).toContain('failed: no');
    expect(text).toContain('4.00×');
  });

  it('escapes every text and has no script', () => {
    const text = page([row({ name: HOSTILE }), row({ name: `${HOSTILE}2`, psnrDb: null, message: HOSTILE })]);
    expect(text).not.toContain('<script');
    expect(text).toContain('&lt;script&gt;');
  });

  it('is the same for the same runs, and complete when every run is equal', () => {
    const rows = [row({}), row({ name: 'twin' })];
    expect(page(rows)).toBe(page(rows));
    expect(page(rows)).not.toMatch(/NaN|Infinity|undefined/);
  });
});
