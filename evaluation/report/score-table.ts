import type { ScoreTableData } from './report-data.js';
import { scoreRows } from './score-rows.js';
import { pairedSentence } from './verdict.js';

const ARROWS = { higher: ' ↑', lower: ' ↓' } as const;

/**
 * The scores as text: `text` is aligned by spaces for a terminal, `markdown` a pipe table. Columns that are not evaluated yet
 * may simply be missing, so that a running workflow can show what it has.
 */
export function scoreTable(data: ScoreTableData, format: 'text' | 'markdown' = 'text'): string {
  const rows = scoreRows(data).map(({ label, better, cells, detail }) => {
    const indent = detail && format === 'text' ? '  ' : '';
    return [`${indent}${label}${better === null ? '' : ARROWS[better]}`, ...cells];
  });
  const heading = ['', ...data.columns.map(({ label }) => label)];
  const table = format === 'markdown' ? markdownTable(heading, rows) : alignedTable(heading, rows);
  const paired = data.paired ? [pairedSentence(data.paired)] : [];
  return [table, ...paired].join('\n\n');
}

/** A pipe table; the first column is text, the others numbers. Cells cannot break out of it. */
export function markdownTable(heading: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map(markdownCell).join(' | ')} |`;
  const rule = `|${heading.map((_, i) => (i === 0 ? ' :-- ' : ' --: ')).join('|')}|`;
  return [line(heading), rule, ...rows.map(line)].join('\n');
}

/** Text that stays inside a Markdown cell or paragraph: no markup, no line break. */
export function markdownCell(text: string): string {
  return text.replace(/\s+/g, ' ').replace(/[\\`*_[\]<>|~]/g, (character) => `\\${character}`);
}

/** Columns aligned by spaces for a terminal: the first to the left, the others to the right. */
export function alignedTable(heading: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [heading, ...rows];
  const widths = heading.map((_, i) => Math.max(...lines.map((cells) => width(cells[i] ?? ''))));
  const aligned = lines.map((cells) =>
    cells
      .map((cell, i) => pad(cell, widths[i] ?? 0, i === 0 ? 'left' : 'right'))
      .join('  ')
      .trimEnd(),
  );
  const rule = '─'.repeat(widths.reduce((sum, size) => sum + size, 2 * (widths.length - 1)));
  return [aligned[0], rule, ...aligned.slice(1)].join('\n');
}

/** Characters as a terminal counts them: code points, combining marks not counted. */
function width(text: string): number {
  return Array.from(text.normalize('NFC').replace(/\p{Mark}/gu, '')).length;
}

function pad(text: string, size: number, side: 'left' | 'right'): string {
  const fill = ' '.repeat(Math.max(0, size - width(text)));
  return side === 'left' ? text + fill : fill + text;
}
