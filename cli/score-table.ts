import type { Score } from '../contracts/score.js';
import { DASH } from '../evaluation/report/format-number.js';
import { intervalName, pValueText, scoreCounts, scoreInterval, scoreValue } from '../evaluation/report/format-score.js';
import { footnotesOf } from '../evaluation/report/score-groups.js';

interface Column {
  readonly title: string;
  readonly right: boolean;
  readonly text: (score: Score) => string;
}

const COLUMNS: readonly Column[] = [
  { title: 'score', right: false, text: ({ name }) => name },
  { title: 'value', right: true, text: (score) => scoreValue(score, score.value) },
  { title: 'unit', right: false, text: ({ unit }) => (unit === '1' ? '' : unit) },
  { title: 'interval', right: true, text: scoreInterval },
  { title: 'of', right: false, text: intervalName },
  { title: 'floor', right: true, text: (score) => scoreValue(score, score.floor) },
  { title: 'p', right: true, text: ({ pValue }) => pValueText(pValue) },
  { title: 'n', right: true, text: scoreCounts },
  { title: 'better', right: false, text: ({ better }) => better ?? '' },
];

/** Scores as aligned columns for a terminal; columns that no score fills are left out. Notes follow with their numbers. */
export function scoreTable(scores: readonly Score[]): string {
  const { head, rows, columns } = cells(scores);
  const widths = columns.map((_, c) => Math.max(...[head, ...rows].map((row) => row[c]?.length ?? 0)));
  const line = (row: readonly string[]): string =>
    row
      .map((text, c) => (columns[c]?.right ? text.padStart(widths[c] ?? 0) : text.padEnd(widths[c] ?? 0)))
      .join('  ')
      .trimEnd();
  return [line(head), ...rows.map(line), ...numberedNotes(scores)].join('\n');
}

/** The same as a Markdown table. */
export function scoreMarkdown(scores: readonly Score[]): string {
  const { head, rows, columns } = cells(scores);
  const line = (row: readonly string[]): string => `| ${row.map((text) => text.replaceAll('|', '\\|')).join(' | ')} |`;
  const rule = `|${columns.map(({ right }) => (right ? '---:' : '---')).join('|')}|`;
  const notes = numberedNotes(scores);
  return [line(head), rule, ...rows.map(line), ...(notes.length === 0 ? [] : ['', ...notes])].join('\n');
}

function cells(scores: readonly Score[]): { head: string[]; rows: string[][]; columns: readonly Column[] } {
  const filled = ({ text }: Column): boolean => scores.some((score) => text(score) !== '' && text(score) !== DASH);
  const columns = COLUMNS.filter(filled);
  const footnotes = footnotesOf(scores);
  const marks = ({ notes }: Score): string =>
    notes.length === 0 ? '' : ` [${notes.map((note) => footnotes.indexOf(note) + 1).join(', ')}]`;
  const rows = scores.map((score) => columns.map(({ text }, c) => text(score) + (c === 0 ? marks(score) : '')));
  return { head: columns.map(({ title }) => title), rows, columns };
}

function numberedNotes(scores: readonly Score[]): string[] {
  return footnotesOf(scores).map((note, i) => `[${i + 1}] ${note}`);
}
