import { describe, expect, test } from 'vitest';
import { renderReport } from '../../../evaluation/report/render-report.js';
import { evaluationReport, fullReport, PNG_URI, smallReport } from './report-fixture.js';

const HOSTILE = `<script>alert(1)</script>"><img src=x onerror='a()'></text>&amp;${'\u0001'}`;

/** Visible text of a page, roughly. */
function textOf(page: string): string {
  return page
    .replace(/<style>[\s\S]*?<\/style>/, '')
    .replace(/<[^>]*>/g, ' ')
    .replace(/\s+/g, ' ');
}

/** Fails on an unclosed or crossed element; void HTML elements and self-closing SVG ones are left out. */
function expectWellNested(page: string): void {
  const open: string[] = [];
  for (const [, close, name = '', , selfClosed] of page.matchAll(/<(\/?)([a-z0-9]+)((?:\s[^<>]*?)?)(\/?)>/g)) {
    if (['meta', 'wbr', 'br'].includes(name) || selfClosed === '/') continue;
    if (close === '') open.push(name);
    else expect(open.pop()).toBe(name);
  }
  expect(open).toEqual([]);
}

describe('renderReport', () => {
  test('loads nothing from anywhere: no script, no address but the link to the run, a policy that forbids the rest', () => {
    const page = renderReport(fullReport());
    expect(page).not.toMatch(/<(script|link|iframe|object|embed|base|form)\b/i);
    expect(page).not.toMatch(/url\(|@import|@font-face/i);
    const sources = [...page.matchAll(/\s(?:src|href|srcset|data|action|xlink:href)="([^"]*)"/g)].map(
      ([, value]) => value,
    );
    const links = sources.filter((value) => value !== PNG_URI && value?.startsWith('#') !== true);
    expect(links).toEqual(['http://127.0.0.1:8233/run?a=1&amp;b=2']);
    const ids = [...page.matchAll(/\sid="([^"]*)"/g)].map(([, id]) => id);
    expect(new Set(ids).size).toBe(ids.length);
    for (const [, id] of page.matchAll(/href="#([^"]*)"/g)) expect(ids).toContain(id);
    expect([...page.matchAll(/https?:\/\//g)].length).toBe(2); // the link and its text
    expect(page).toContain(`http-equiv="Content-Security-Policy" content="default-src &#39;none&#39;;`);
  });

  test('escapes hostile texts everywhere, in elements, attributes and SVG', () => {
    const page = renderReport(fullReport(HOSTILE));
    expect(page).not.toMatch(/<script|<img/);
    expect(page).not.toContain('\u0001');
    expectWellNested(page);
    const plain = renderReport(fullReport());
    const tags = (text: string) => [...text.matchAll(/<[a-z]+/g)].length;
    // a hostile text with dots in a layer name may add word breaks only
    expect(tags(page.replaceAll('<wbr', ''))).toBe(tags(plain.replaceAll('<wbr', '')));
  });

  test('links only to web addresses and takes only inline PNG pictures', () => {
    const data = fullReport();
    for (const url of ['javascript:alert(1)', 'data:text/html,x', 'not an address', 'file:///etc/passwd']) {
      expect(renderReport({ ...data, run: { workflowId: 'w', url } })).not.toContain('<a ');
    }
    const samples =
      data.samples === undefined ? undefined : { ...data.samples, pngDataUri: 'https://example.org/a.png' };
    expect(() => renderReport({ ...data, samples })).toThrow(/data:image\/png/);
  });

  test('is the same for the same data and well nested', () => {
    expect(renderReport(fullReport())).toBe(renderReport(fullReport()));
    expectWellNested(renderReport(fullReport()));
  });

  test('says the verdict, the paired interval, n, the metric’s full name and that nothing was sped up', () => {
    const text = textOf(renderReport(fullReport()));
    expect(text).toContain('PSNR of 23.3 dB (n = 64)');
    expect(text).toContain('+1.25 dB, 95 % interval +1.01 to +1.49, n = 64');
    expect(text).toContain('frechet[cifar10-resnet@1a2b3c4d]');
    expect(text).toContain('no speed-up is claimed');
    expect(text).toContain('stays float: because plain');
    expect(text).toContain('1 of 2 reused');
    expect(text).not.toMatch(/undefined|NaN|\[object/);
  });

  test('draws the worst layers first', () => {
    const page = renderReport(fullReport());
    const bars = page.slice(page.indexOf('by layer, worst first'));
    expect(bars.indexOf('conv_large')).toBeLessThan(bars.indexOf('conv_small'));
  });

  test('an evaluation says its verdict from the list of scores, and leaves out what only quantizing has', () => {
    const page = renderReport(evaluationReport());
    expectWellNested(page);
    const text = textOf(page);
    expect(text).toContain('emoji plain, evaluated');
    expect(text).toContain('PSNR of 23.3 dB (n = 256, 95 % Student t interval 22.75 to 23.75)');
    expect(text).toContain('closer than another seed');
    expect(text).toContain('told from the float model’s by a permutation test (kid, p = 0.0050, n = 256)');
    expect(text).not.toMatch(/Resolved recipe|Stages|Finetuning|undefined|NaN|\[object/);
    expect(text).toContain('Which kernels ran');
    const float = { ...evaluationReport(), latency: undefined };
    expect(textOf(renderReport(float))).not.toMatch(/Which kernels ran|integer codes/);
    expect(renderReport(evaluationReport(HOSTILE))).not.toMatch(/<script|<img/);
  });

  test('layers have their bits and bytes, in bars and in the table', () => {
    const text = textOf(renderReport(fullReport()));
    expect(text).toContain('147 kB → 20.7 kB · 4 × 4');
    expect(text).toContain('All 1 layers with weights: 147 kB → 20.7 kB, 1/7.1');
    expect(text).toContain('147 kB 20.7 kB 9.40 M 0.00200');
  });

  test('latency names kernels and threads, and says of simulated arithmetic that its time means nothing', () => {
    const full = fullReport();
    const text = textOf(renderReport(full));
    expect(text).toContain('12.50 11.25 to 14.00 9 2, cpu float32 CPU kernels');
    expect(text).toContain('Of candidate plain the low-bit arithmetic is simulated');
    const rows = full.latency?.rows.map((row) => ({ ...row, simulated: false })) ?? [];
    expect(textOf(renderReport({ ...full, latency: { batch: 1, rows } }))).not.toContain(
      'arithmetic is simulated: int',
    );
  });

  test('worst and best pictures carry their numbers', () => {
    const text = textOf(renderReport(fullReport()));
    expect(text).toContain('Of 64 same-seed pictures, those with the lowest and the highest PSNR');
    expect(text).toContain('14.2 dB plain a crab');
    expect(text).toContain('31.5 dB a moon');
  });

  test('any part may be absent', () => {
    const full = fullReport();
    for (const key of Object.keys(full) as (keyof typeof full)[]) {
      if (['pipeline', 'scheme', 'compute', 'scores'].includes(key)) continue;
      const page = renderReport({ ...full, [key]: undefined });
      expectWellNested(page);
      expect(textOf(page)).not.toMatch(/undefined|NaN|\[object/);
    }
    const small = textOf(renderReport(smallReport()));
    expect(small).toContain('has not been evaluated');
    expect(small).not.toContain('Samples');
  });

  test('numbers that are not finite become signs, not broken pictures', () => {
    const full = fullReport();
    const page = renderReport({
      ...full,
      scores: {
        columns: full.scores.columns.map((column) => ({
          ...column,
          frechetToFloat: Number.POSITIVE_INFINITY,
          ssim: Number.NaN,
        })),
      },
      timestepSqnr: [{ role: 'after', label: 'after', points: [{ timestep: 1, sqnrDb: Number.NaN }] }],
    });
    expect(textOf(page)).toContain('∞');
    expect(page).not.toContain('NaN');
  });
});
