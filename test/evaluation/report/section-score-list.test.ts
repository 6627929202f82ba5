import { describe, expect, test } from 'vitest';
import { pValueText, scoreCounts, scoreInterval, scoreValue } from '../../../evaluation/report/format-score.js';
import { footnotesOf, scoreGroups } from '../../../evaluation/report/score-groups.js';
import { scoreListSection } from '../../../evaluation/report/section-score-list.js';
import { svgInterval } from '../../../evaluation/report/svg-interval.js';
import { score, scoreList } from './score-fixture.js';

function numbers(svg: string, attribute: string, element: string): number[] {
  return [...svg.matchAll(new RegExp(`<${element}[^>]* ${attribute}="([^"]*)"`, 'g'))].map(([, value]) =>
    Number(value),
  );
}

describe('scoreListSection', () => {
  test('same-seed scores come first, then distances to float, to the reference, and those of one set', () => {
    const order = scoreGroups(scoreList()).flatMap((group) =>
      group.scores.map(({ metric, against }) => [metric, against]),
    );
    expect(order).toEqual([
      ['psnr', 'float'],
      ['frechet', 'float'],
      ['kid', 'float'],
      ['frechet', 'reference'],
      ['inception-score', 'none'],
    ]);
  });

  test('a note that several scores have is one footnote, and each score points to its own', () => {
    const text = scoreListSection(scoreList(), 'Scores');
    const page = text === false ? '' : text.text;
    expect(page.split('few samples plain')).toHaveLength(2);
    expect(page).toContain('<sup>1</sup>');
    expect(page).toContain('<sup>1 2</sup>');
    expect(footnotesOf(scoreList())).toEqual([
      'few samples plain',
      'provenance unknown plain',
      'no class scores in plain',
    ]);
  });

  test('a score that could not be computed is a dash without a picture', () => {
    const lost = score({ name: 'x-1', metric: 'x', value: null });
    const text = scoreListSection([lost], 'Scores');
    expect(text === false ? '' : text.text).toContain('<td class="value">–</td><td>–</td><td>–</td><td>–</td>');
    expect(svgInterval(lost)).toBe(false);
    expect(scoreListSection([], 'Scores')).toBe(false);
  });
});

describe('svgInterval', () => {
  const drawn = (changes: Parameters<typeof score>[0]) => {
    const svg = svgInterval(score(changes));
    return svg === false ? '' : svg.text;
  };

  test('puts value, interval and floor on one scale; that of a distance begins at zero', () => {
    const svg = drawn({ name: 'd', metric: 'd', value: 3, low: 2, high: 4, floor: 1 });
    const [start = 0, end = 0] = [numbers(svg, 'x1', 'line')[0], numbers(svg, 'x2', 'line')[0]];
    const at = (value: number) => start + ((end - start) * value) / 4;
    expect(numbers(svg, 'cx', 'circle')[0]).toBeCloseTo(at(3), 1);
    expect(numbers(svg, 'x1', 'line')[1]).toBeCloseTo(at(2), 1);
    expect(numbers(svg, 'x2', 'line')[1]).toBeCloseTo(at(4), 1);
    expect(numbers(svg, 'x1', 'line')[2]).toBeCloseTo(at(1), 1);
  });

  test('a score of which higher is better spans its own range; one number alone is in the middle', () => {
    const svg = drawn({ name: 'p', metric: 'p', better: 'higher', value: 23, low: 22, high: 24, floor: 20 });
    expect(numbers(svg, 'x1', 'line')[2]).toBeCloseTo(numbers(svg, 'x1', 'line')[0] ?? 0, 1);
    const alone = drawn({ name: 'p', metric: 'p', better: 'higher', value: 23 });
    expect(numbers(alone, 'cx', 'circle')).toEqual([70]);
    expect(drawn({ name: 'p', metric: 'p', value: Number.POSITIVE_INFINITY, floor: 1 })).toBe('');
  });
});

describe('numbers of scores', () => {
  test('decibels have two decimals, distances four digits, and rounding of features is zero', () => {
    const decibels = { unit: 'dB', better: 'higher' } as const;
    const distance = { unit: '', better: 'lower' } as const;
    expect(scoreValue(decibels, 23.456)).toBe('23.46');
    expect(scoreValue(distance, 0.0123456)).toBe('0.01235');
    expect([scoreValue(distance, -4e-9), scoreValue(distance, -4e-3)]).toEqual(['0', '−0.004000']);
    expect(scoreInterval(score({ name: 'a', metric: 'a', low: -1, high: 2 }))).toBe('−1.00 to 2.00');
    expect([pValueText(null), pValueText(1 / 201)]).toEqual(['–', '0.0050']);
    expect([scoreCounts({ n: 9, referenceN: 9 }), scoreCounts({ n: 9, referenceN: null })]).toEqual(['9', '9']);
    expect(scoreCounts({ n: 256, referenceN: 1640 })).toBe('256 : 1640');
  });
});
