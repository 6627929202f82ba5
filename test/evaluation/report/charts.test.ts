import { describe, expect, test } from 'vitest';
import { linearTicks, tickText } from '../../../evaluation/report/axis-ticks.js';
import {
  bytes,
  count,
  duration,
  fixed,
  percent,
  signed,
  significant,
} from '../../../evaluation/report/format-number.js';
import { html, webAddress } from '../../../evaluation/report/html.js';
import { shortened, svgBarChart } from '../../../evaluation/report/svg-bar-chart.js';
import { svgHeatMap } from '../../../evaluation/report/svg-heat-map.js';
import { svgLineChart } from '../../../evaluation/report/svg-line-chart.js';

describe('svgLineChart', () => {
  const line = (reversed: boolean) =>
    svgLineChart({
      title: 't',
      xLabel: 'x',
      yLabel: 'y',
      reversed,
      series: [{ label: 'a', tone: 'after', points: [0, 5, 10].map((x) => ({ x, y: x * x })) }],
    }).text;
  const points = (svg: string) =>
    (/points="([^"]*)"/.exec(svg)?.[1] ?? '').split(' ').map((pair) => pair.split(',').map(Number) as [number, number]);

  test('puts points to scale inside the frame, mirrored when reversed', () => {
    const [first, middle, last] = points(line(false)) as [[number, number], [number, number], [number, number]];
    expect(middle[0]).toBeCloseTo((first[0] + last[0]) / 2, 1);
    expect((first[1] - middle[1]) / (first[1] - last[1])).toBeCloseTo(0.25, 2);
    const mirrored = points(line(true));
    expect(mirrored[0]?.[0]).toBeCloseTo(last[0], 1);
    expect(mirrored[2]?.[0]).toBeCloseTo(first[0], 1);
  });

  test('a constant, a single point and no data do not break it', () => {
    const chart = (data: { x: number; y: number }[]) =>
      svgLineChart({ title: 't', xLabel: '', yLabel: '', series: [{ label: 'a', tone: 'after', points: data }] }).text;
    for (const svg of [chart([{ x: 1, y: 3 }]), chart([1, 2].map((x) => ({ x, y: 0 })))]) {
      expect(svg).toContain('<polyline');
      expect(svg).not.toMatch(/NaN|Infinity/);
    }
    expect(chart([])).toContain('No data');
  });
});

describe('svgBarChart and svgHeatMap', () => {
  test('bar lengths are proportional', () => {
    const svg = svgBarChart({
      title: 't',
      bars: [4, 1, 0].map((value) => ({ label: `l${value}`, value, text: `${value}` })),
    }).text;
    const widths = [...svg.matchAll(/<rect[^>]*width="([^"]*)"/g)].map(([, width]) => Number(width));
    expect(widths[0]).toBeGreaterThan(100);
    expect(widths[1]).toBeCloseTo((widths[0] ?? 0) / 4, 1);
    expect(widths[2]).toBe(0);
  });

  test('opacity follows the logarithm and empty cells stay empty', () => {
    const svg = svgHeatMap({
      title: 't',
      rows: ['r'],
      columns: ['1', '2', '3', '4'],
      columnLabel: 'c',
      values: [[0.001, 0.01, 0.1, 0]],
      text: String,
    }).text;
    const opacities = [...svg.matchAll(/fill-opacity="([^"]*)"/g)].map(([, value]) => Number(value));
    expect(opacities).toEqual([0.05, 0.53, 1]);
  });

  test('long names keep their end', () => {
    expect(shortened('abcdef', 4)).toBe('…def');
    expect(shortened('abc', 4)).toBe('abc');
  });
});

describe('ticks and numbers', () => {
  test('ticks are round and span the data', () => {
    expect(linearTicks(0.3, 9.4)).toEqual([0, 2, 4, 6, 8, 10]);
    expect(linearTicks(3, 3).length).toBeGreaterThan(1);
    const ticks = linearTicks(-0.02, 0.03);
    expect(ticks.map((tick) => tickText(tick, ticks))).toEqual(['−0.02', '−0.01', '0.00', '0.01', '0.02', '0.03']);
  });

  test('numbers are written for people', () => {
    expect([fixed(-1.234, 2), fixed(null, 2), fixed(-0.001, 2)]).toEqual(['−1.23', '–', '0.00']);
    expect([signed(0.5, 1), signed(-0.5, 1), signed(0, 1)]).toEqual(['+0.5', '−0.5', '0.0']);
    expect([significant(0.012345), significant(1234.5), significant(0), significant(1.2e-9)]).toEqual([
      '0.0123',
      '1235',
      '0',
      '1.20e−9',
    ]);
    expect([bytes(999), bytes(2_487_331), count(1234567), percent(0.9876)]).toEqual([
      '999 B',
      '2.49 MB',
      '1,234,567',
      '98.8 %',
    ]);
    expect([duration(1.24), duration(59.6), duration(245), duration(3720)]).toEqual([
      '1.2 s',
      '1 min 00 s',
      '4 min 05 s',
      '1 h 02 min',
    ]);
  });
});

describe('html', () => {
  test('escapes what is inserted and keeps what is markup', () => {
    expect(html`<b a="${'"<&\''}">${html`<i>${'<'}</i>`}${[1, '&', null, false]}</b>`.text).toBe(
      '<b a="&quot;&lt;&amp;&#39;"><i>&lt;</i>1&amp;</b>',
    );
  });

  test('only web addresses are addresses', () => {
    expect(webAddress('https://a.b/c?d=e')).toBe('https://a.b/c?d=e');
    expect(webAddress('JavaScript:alert(1)')).toBeUndefined();
    expect(webAddress(undefined)).toBeUndefined();
  });
});
