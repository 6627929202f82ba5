import type { EvaluationSummary } from '../contracts/evaluation-activities.js';
import type { Score } from '../contracts/score.js';
import { cell, pauseNote, stageTable } from './details.js';

/** Markdown of an evaluation for the UI: stages first, then the scores. */
export function evaluationDetails(summary: EvaluationSummary, pausedSince: string | null = null): string {
  const against = summary.against === null ? '' : ` against ${cell(summary.against)}`;
  return [
    `### ${cell(summary.pipeline)}${against}, protocol ${cell(summary.protocol)}, n = ${summary.samples}`,
    '',
    ...pauseNote(pausedSince),
    ...stageTable(summary.stages),
    ...scoreTable(summary.scores),
  ].join('\n');
}

function scoreTable(scores: readonly Score[]): string[] {
  const known = scores.filter(({ value }) => value !== null);
  if (known.length === 0) return [];
  const rows = known.map(({ name, against, value, low, high, floor, unit }) => {
    const interval = low === null || high === null ? '' : `${low.toPrecision(4)} to ${high.toPrecision(4)}`;
    const cells = [name, against, `${value?.toPrecision(4)} ${unit}`, interval, floor?.toPrecision(4) ?? ''];
    return `| ${cells.map(cell).join(' | ')} |`;
  });
  return [
    '',
    '### Scores',
    '',
    '| | against | value | 95 % interval | noise floor |',
    '|---|---|---|---|---|',
    ...rows,
  ];
}
