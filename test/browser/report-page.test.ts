import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { renderReport } from '../../evaluation/report/render-report.js';
import type { ReportData } from '../../evaluation/report/report-data.js';
import { evaluationReport, fullReport, manyLayers, smallReport } from '../evaluation/report/report-fixture.js';
import type { BrowserPage } from './browser-page.js';
import { findBrowser, HeadlessBrowser } from './headless-browser.js';
import { contrasts, overflowing } from './page-checks.js';

/** A phone and a desktop, in CSS pixels. */
const WIDTHS = [390, 1280];

/** The printed width of A4 with the browser's margins, in CSS pixels. */
const PAPER_WIDTH = 718;

/** Least contrast of text that WCAG 2 (AA) asks for. */
const LEAST_CONTRAST = 4.5;

const HOSTILE = [
  '<script>window.hacked = true</script><img src=x onerror="window.hacked = true">',
  `"'><svg onload="window.hacked = true">`,
  'علم المملكة العربية السعودية \u202e reversed',
  '👩‍🚀🏳️‍🌈 emoji',
  'a_word_without_any_space_'.repeat(12),
].join(' ');

const REPORTS: readonly (readonly [string, () => ReportData])[] = [
  ['a quantization with 600 layers', () => ({ ...fullReport(), layers: manyLayers(600) })],
  ['a quantization whose every text is hostile', () => fullReport(HOSTILE)],
  ['an evaluation', () => evaluationReport()],
  ['an evaluation whose every text is hostile', () => evaluationReport(HOSTILE)],
  ['the least there is', smallReport],
];

const executable = findBrowser();

test.runIf(process.env.CI)('continuous integration has a browser', () => {
  expect(executable, 'no chromium on PATH and no CHROME_PATH: see test/headless-chromium.sh').toBeDefined();
});

describe.skipIf(executable === undefined)('reports in a real browser', () => {
  let folder: string;
  let browser: HeadlessBrowser;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'nibbleflow-page-'));
    browser = await HeadlessBrowser.launch(executable ?? '');
  });
  afterAll(async () => {
    await browser?.close();
    await rm(folder, { recursive: true, force: true });
  });

  async function opened(name: string, data: ReportData): Promise<BrowserPage> {
    const file = join(folder, `${name.replaceAll(' ', '-')}.html`);
    await writeFile(file, renderReport(data));
    const page = await browser.openPage();
    await page.open(pathToFileURL(file).href);
    return page;
  }

  test.each(REPORTS)('%s asks the network for nothing, runs nothing and complains of nothing', async (name, make) => {
    const page = await opened(name, make());
    expect(page.requests.filter((url) => !/^(file|data):/.test(url))).toEqual([]);
    expect(page.requests.filter((url) => url.startsWith('file:'))).toHaveLength(1);
    expect(page.complaints).toEqual([]);
    expect(await page.evaluate('window.hacked')).toBeUndefined();
    expect(
      await page.evaluate('document.scripts.length + document.querySelectorAll("[onerror], [onload]").length'),
    ).toBe(0);
  });

  test.each(REPORTS)('%s fits narrow and wide screens, and paper', async (name, make) => {
    const page = await opened(name, make());
    for (const width of WIDTHS) {
      await page.resize(width);
      expect(await page.evaluate(`(${overflowing})()`), `${width} px`).toEqual([]);
    }
    await page.resize(PAPER_WIDTH);
    await page.prefer('light', 'print');
    expect(await page.evaluate(`(${overflowing})()`), 'on paper').toEqual([]);
  });

  test.each(REPORTS)('%s is light or dark as the reader asks, and can be read in both', async (name, make) => {
    const page = await opened(name, make());
    const seen: string[] = [];
    for (const scheme of ['light', 'dark'] as const) {
      await page.prefer(scheme);
      seen.push(await page.evaluate('getComputedStyle(document.body).backgroundColor'));
      const found = await page.evaluate<Record<string, number>>(`(${contrasts})()`);
      expect(Object.keys(found)).not.toHaveLength(0);
      for (const [text, contrast] of Object.entries(found)) {
        expect(contrast, `${scheme}: ${text}`).toBeGreaterThanOrEqual(LEAST_CONTRAST);
      }
    }
    expect(seen).toEqual(['rgb(255, 255, 255)', 'rgb(18, 21, 26)']);
  });

  test('prints light whatever the screen is, every row of long tables, as a PDF', async () => {
    const page = await opened('printed', { ...fullReport(), layers: manyLayers(600) });
    await page.prefer('dark', 'print');
    expect(await page.evaluate('getComputedStyle(document.body).backgroundColor')).toBe('rgb(255, 255, 255)');
    expect(
      await page.evaluate(`(() => {
      const box = document.querySelector('.tall');
      return box.scrollHeight - box.clientHeight;
    })()`),
    ).toBe(0);
    const pdf = await page.pdf();
    expect(pdf.subarray(0, 5).toString()).toBe('%PDF-');
    // Some 30 rows of the layer table fit on a page.
    expect(pdf.toString('latin1').match(/\/Type\s*\/Page\b/g)?.length).toBeGreaterThan(15);
  });

  test('draws heat maps, bars, intervals and sample pictures', async () => {
    const page = await opened('drawn', fullReport());
    const visible = (selector: string) =>
      page.evaluate<number>(
        `[...document.querySelectorAll('${selector}')].filter((e) => e.getBoundingClientRect().width > 0).length`,
      );
    expect(await visible('rect.heat')).toBe(7);
    expect(await visible('svg.plot circle')).toBe(4);
    expect(await visible('rect.bar')).toBeGreaterThan(5);
    expect(await visible('rect.bar-before')).toBe(1);
    expect(await visible('.triple svg')).toBe(6);
    // Every cell shows its part of the sheet, which the browser could decode.
    expect(
      await page.evaluate(`(async () => {
      const images = [...document.querySelectorAll('image')];
      await Promise.all(images.map((image) => image.decode()));
      return images.length;
    })()`),
    ).toBe(3);
  });
});
