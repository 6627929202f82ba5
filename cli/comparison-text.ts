import type { Comparison, ScoreDifference, SettingDifference } from '../evaluation/compare/comparison.js';
import { bytes, DASH, duration, fixed, signed, significant } from '../evaluation/report/format-number.js';
import { scoreValue } from '../evaluation/report/format-score.js';
import { alignedTable, markdownCell, markdownTable } from '../evaluation/report/score-table.js';

const INTERVALS = { 'paired-student-t': 'paired', independent: 'independent' } as const;

/** How a kind of output writes headings, tables and lists. */
interface Writer {
  readonly heading: (text: string) => string;
  readonly table: (heading: readonly string[], rows: readonly (readonly string[])[]) => string;
  readonly item: (text: string) => string;
}

const WRITERS: Readonly<Record<'text' | 'md', Writer>> = {
  text: { heading: (text) => text, table: alignedTable, item: (text) => `- ${text}` },
  md: {
    heading: (text) => `## ${markdownCell(text)}`,
    table: markdownTable,
    item: (text) => `- ${markdownCell(text)}`,
  },
};

/** A comparison for people: what was set differently, score by score the difference with its interval, size and time. */
export function comparisonText(comparison: Comparison, format: 'text' | 'md'): string {
  const { heading, table, item } = WRITERS[format];
  const { left, right, settings, scores, onlyLeft, onlyRight, warnings } = comparison;
  const unlike = scores.filter((score) => score.unlike.length > 0);
  const list = (title: string, lines: readonly string[]) =>
    lines.length === 0 ? [] : [heading(title), lines.map(item).join('\n')];
  return [
    heading(`${left} and ${right}`),
    ...list('Mind', warnings),
    heading('Scores: right minus left'),
    scores.length === 0
      ? item('no score is on both sides')
      : table(['', 'left', 'right', 'difference', 'interval', 'how'], scores.map(scoreRow)),
    ...list(
      'Not subtracted, because they are other numbers',
      unlike.map((score) => `${nameOf(score)}: ${score.unlike.join('; ')}`),
    ),
    ...list(
      'On the left only',
      onlyLeft.map(({ name, against }) => `${name}${againstText(against)}`),
    ),
    ...list(
      'On the right only',
      onlyRight.map(({ name, against }) => `${name}${againstText(against)}`),
    ),
    heading('Cost'),
    table(['', 'left', 'right'], costRows(comparison)),
    heading('Settings that differ'),
    settings.length === 0 ? item('none') : table(['', 'left', 'right'], settings.map(settingRow)),
  ].join('\n\n');
}

function scoreRow(score: ScoreDifference): string[] {
  const { left, right, delta, low, high, level, interval, unlike, unit } = score;
  const difference = (value: number) => (unit === 'dB' ? signed(value, 2) : plus(value));
  const cells = [nameOf(score), scoreValue(left, left.value), scoreValue(right, right.value)];
  if (delta === null) return [...cells, unlike.length > 0 ? 'unlike' : DASH, DASH, ''];
  const ends = low === null || high === null ? DASH : `${difference(low)} to ${difference(high)}`;
  const how = interval === null ? '' : `${fixed((level ?? 0) * 100, 0)} % ${INTERVALS[interval]}`;
  return [...cells, difference(delta), ends, how];
}

function nameOf({ left, right, against, unit }: ScoreDifference): string {
  const name = left.name === right.name ? left.name : `${left.name} / ${right.name}`;
  return `${name}${againstText(against)}${unit === '' || unit === '1' ? '' : `, ${unit}`}`;
}

function againstText(against: ScoreDifference['against']): string {
  return against === 'reference' ? ' to the reference' : '';
}

function plus(value: number): string {
  const text = significant(value, 3);
  return value > 0 ? `+${text}` : text;
}

function costRows({ bytes: size, seconds }: Comparison): string[][] {
  const shown = (value: number | null, write: (value: number) => string) => (value === null ? DASH : write(value));
  return [
    ['denoiser', shown(size.left, bytes), shown(size.right, bytes)],
    ['work', shown(seconds.left, duration), shown(seconds.right, duration)],
  ];
}

function settingRow(difference: SettingDifference): string[] {
  const text = (side: 'left' | 'right') => (side in difference ? JSON.stringify(difference[side]) : 'absent');
  return [difference.path, text('left'), text('right')];
}
