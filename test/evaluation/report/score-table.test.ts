import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { renderModelCard } from '../../../evaluation/report/model-card.js';
import { scoreTable } from '../../../evaluation/report/score-table.js';
import { pairedSentence, verdict } from '../../../evaluation/report/verdict.js';
import { fullReport, scoreColumn, smallReport } from './report-fixture.js';

describe('scoreTable', () => {
  test('is aligned for a terminal', () => {
    const lines = scoreTable(fullReport().scores).split('\n\n')[0]?.split('\n') ?? [];
    const [heading = '', , psnr = ''] = lines;
    expect(heading.trimStart()).toMatch(/^float plain\s+before\s+after$/);
    expect(psnr).toMatch(/^Same-seed PSNR, dB ↑\s+24\.75\s+22\.00\s+23\.25$/);
    expect(new Set(lines.map((line) => line.length)).size).toBe(1);
  });

  test('shows what there is while a run goes on', () => {
    const table = scoreTable({
      columns: [
        { ...scoreColumn('before', 'W4A4', 22), psnrInterval: null, psnrP10Db: null, frechetToReference: null },
      ],
    });
    expect(table).toContain('22.00');
    expect(table).not.toMatch(/interval|reference/);
    expect(table).toContain('Fréchet-64 to float');
    expect(scoreTable({ columns: [] }, 'markdown')).toContain('|');
  });

  test('as Markdown keeps hostile labels inside their cells', () => {
    const table = scoreTable({ columns: [scoreColumn('after', 'a|b\n<img src=x> `c`', 22)] }, 'markdown');
    const lines = table.split('\n');
    expect(lines[0]).toBe('|  | a\\|b \\<img src=x\\> \\`c\\` |');
    expect(lines.slice(2).every((line) => /^\| .* \| .* \|$/.test(line))).toBe(true);
  });
});

describe('verdict', () => {
  test('follows the paired interval: better, worse, or not to be told from zero', () => {
    const sentence = (low: number, high: number) =>
      pairedSentence({ psnrDb: { mean: (low + high) / 2, low, high }, n: 8 });
    expect(sentence(0.1, 0.3)).toContain('closer');
    expect(sentence(-0.3, -0.1)).toContain('further');
    expect(sentence(-0.1, 0.3)).toContain('no difference');
  });

  test('compares with the noise floor in the right direction', () => {
    const scores = (psnr: number) => ({ columns: [scoreColumn('floor', 'f', 24.75), scoreColumn('after', 'a', psnr)] });
    expect(verdict({ scheme: 'W4A4', scores: scores(23) })).toContain('differ more than another seed');
    expect(verdict({ scheme: 'W4A4', scores: scores(28) })).toContain('closer than another seed');
  });

  test('speaks of the unfinetuned result when nothing was finetuned', () => {
    expect(verdict({ scheme: 'W4A4', scores: { columns: [scoreColumn('before', 'b', 21.5)] } })).toContain('21.5 dB');
  });
});

describe('renderModelCard', () => {
  test('has front matter that YAML reads back, with the numbers and their n', () => {
    const card = renderModelCard(fullReport(), { license: 'apache-2.0', baseModel: 'owner/emoji' });
    const matter = parse(card.split('---\n')[1] ?? '') as Record<string, unknown>;
    expect(matter).toMatchObject({
      license: 'apache-2.0',
      base_model: 'owner/emoji',
      quantization: { method: 'W4A4', weights: { bits: 4, groupSize: 64 }, quantized_bytes: 2_500_000 },
    });
    expect(matter.metrics).toContainEqual({ name: 'psnr-to-float-db', value: 23.25, samples: 64 });
    expect(matter.metrics).toContainEqual({
      name: 'frechet[cifar10-resnet@1a2b3c4d]-to-float',
      value: 0.0935,
      samples: 64,
    });
    expect(card).toContain('2.50 MB instead of 15.7 MB');
    expect(card).toContain('no speed-up is claimed');
  });

  test('hostile names neither end the front matter nor become HTML', () => {
    const hostile = 'x\n---\n<script>alert(1)</script>: [a]';
    const card = renderModelCard(fullReport(hostile));
    const [, matter = '', ...body] = card.split(/^---$/m);
    expect(parse(matter)).toMatchObject({ base_model: `emoji ${hostile}` });
    expect(body.join('')).not.toMatch(/(?<!\\)<script/);
  });

  test('says so when nothing was evaluated or finetuned', () => {
    const card = renderModelCard(smallReport());
    expect(card).toContain('has not been evaluated');
    expect(card).not.toMatch(/undefined|NaN|null/);
    const { finetuning: _, ...rest } = fullReport();
    expect(renderModelCard(rest)).toContain('Not finetuned.');
  });
});
