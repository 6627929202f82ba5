import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { plainRounding } from '../../../bench/quality/plain-rounding.js';
import type { QualityRow } from '../../../bench/quality/published-rows.js';
import { peakText, qualityMarkdown } from '../../../bench/quality/quality-report.js';
import { claimTable, qualityTable, tableRow } from '../../../bench/quality/quality-table.js';
import { type RecipeResult, readResults, writeResult } from '../../../bench/quality/recipe-result.js';
import { NibbleflowError } from '../../../contracts/errors.js';
import { recipeSchema } from '../../../contracts/recipe.js';

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
    const lines = qualityTable([
      tableRow(ROW, { denoiserBytes: 2_512_345, ratio: 6.4321, peakBytes: 2_070_400_000 }),
    ]).split('\n');
    expect(lines).toHaveLength(3);
    expect(lines[2]).toBe(
      '| w4a4, finetuned | 23.46 (21.0) | 14.2 | 0.3123 | 0.900 | 0.03988 | 98.9 % | – | 2512345 | 1/6.43 | 4.3 | 2070 |',
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
    expect(line).toBe('| w4a4, finetuned | 23.46 | 14.2 | 0.3123 | 0.900 | – | – | +38 % | – | – | > 4.3 | – |');
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
  const result = (recipe: string, change: Partial<RecipeResult> = {}): RecipeResult => ({
    schemaVersion: 2,
    recipe,
    date: '2026-01-02',
    machine: 'a processor, 2 cores',
    protocol: 'p',
    samples: 64,
    triples: 128,
    floatPictures: { largest: 1, differing: 1234, values: 196_608 },
    floatToReference: 0.2171,
    noiseFloor: tableRow({ ...ROW, label: 'floor' }),
    rows: [tableRow({ ...ROW, label: `${recipe}: plain rounding` }), tableRow({ ...ROW, label: recipe })],
    claims: [{ recipe, claim: 'better', measured: '1', met: true }],
    notes: [peakText(8e8, 4e8)],
    ...change,
  });
  const published = { source: 'somebody', samples: 256, rows: [{ ...ROW, label: 'theirs' }] };

  it('says what ran, how well the float pictures agree, and that a part does not compare', () => {
    const text = qualityMarkdown({ results: [result('a')], published });
    expect(text).toContain('A part of the protocol only');
    expect(text).toContain('1,234 of 196,608 values differ, by at most 1 level');
    expect(text).toContain('together at most 1.20 GB');
    expect(text).toContain('Source: somebody.');
    expect(text.indexOf('theirs')).toBeGreaterThan(text.indexOf('somebody'));
  });

  it('does not warn about the whole protocol', () => {
    expect(qualityMarkdown({ results: [result('a', { samples: 256 })], published })).not.toContain('A part of');
  });

  it('has one noise floor, and every recipe with its rows, claims and machine', () => {
    const text = qualityMarkdown({ results: [result('a'), result('b', { machine: 'another' })], published });
    const starting = (start: string) => text.split('\n').filter((line) => line.startsWith(start)).length;
    expect(starting('| floor |')).toBe(1);
    expect(['| a |', '| b |', '| a: plain', '| b: plain'].map(starting)).toEqual([2, 2, 1, 1]);
    expect(text).toContain('2026-01-02. another.');
  });
});

describe('results of recipes', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'nibbleflow-bench-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  const result: RecipeResult = {
    schemaVersion: 2,
    recipe: 'a',
    date: '2026-01-02',
    machine: 'm',
    protocol: 'p',
    samples: 64,
    triples: 2,
    floatPictures: { largest: 0, differing: 0, values: 1 },
    floatToReference: 0.2,
    noiseFloor: tableRow(ROW),
    rows: [tableRow(ROW)],
    claims: [],
    notes: [],
    scores: { shipped: { psnrDb: [1, 2] } },
  };

  it('are a file each: measured again they replace themselves and nothing else', () => {
    writeResult(folder, result);
    writeResult(folder, { ...result, recipe: 'b' });
    writeResult(folder, { ...result, date: '2026-01-03' });
    expect(readResults(folder, 64).map(({ recipe, date }) => [recipe, date])).toEqual([
      ['a', '2026-01-03'],
      ['b', '2026-01-02'],
    ]);
    expect(readResults(folder, 64)[0]).toEqual({ ...result, date: '2026-01-03' });
  });

  it('with another number of pictures are not in the table', () => {
    writeResult(folder, result);
    expect(readResults(folder, 256)).toEqual([]);
  });

  it('refuse a file that is none', () => {
    writeFileSync(join(folder, 'x.json'), '{}');
    expect(() => readResults(folder, 64)).toThrow(NibbleflowError);
  });
});

describe('plain rounding of a recipe', () => {
  it('keeps bits, scales and ranges, and what the sampled trajectories depend on', () => {
    const recipe = recipeSchema.parse({
      name: 'mine',
      weights: { bits: 3, granularity: 'channel' },
      activations: { bits: 5, ranges: 'timestep', grouping: { method: 'kmeans' } },
      attention: { bits: 6, probabilities: 'log2', keepFirstToken: true },
      calibration: { trajectories: 7 },
      finetuning: { guidedLossWeight: 1, phases: [{ name: 'p', layers: ['linear'], steps: 2 }] },
    });
    const plain = plainRounding(recipe);
    expect(plain.transforms).toEqual([]);
    expect(plain.name).toBe('mine-plain');
    const { weights, edges, calibration, finetuning, sampling } = recipe;
    expect(plain).toMatchObject({ weights, edges, calibration, finetuning, sampling });
    expect(plain.activations).toMatchObject({ bits: 5, ranges: 'timestep', grouping: { method: 'none' } });
    expect(plain.attention).toEqual({ bits: 6, probabilities: 'uniform', keepFirstToken: false });
  });
});
