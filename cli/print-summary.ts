import type { RunSummary } from '../contracts/run-summary.js';
import { scoreTable } from '../evaluation/report/score-table.js';

const ROLES = ['floor', 'before', 'after'] as const;

/** The end of a run for people: scores, sizes, what was reused, where things are. */
export function summaryText(summary: RunSummary, uiUrl: string | null): string {
  const lines = [scores(summary), ''];
  if (summary.denoiserBytes !== null && summary.floatDenoiserBytes !== null) {
    const ratio = summary.floatDenoiserBytes / summary.denoiserBytes;
    lines.push(
      `Denoiser   ${megabytes(summary.floatDenoiserBytes)} → ${megabytes(summary.denoiserBytes)} (${ratio.toFixed(1)}× smaller)`,
    );
  }
  if (summary.gate) lines.push(`Layers     ${summary.gate.text}`);
  if (summary.validation !== null) {
    const { before, after } = summary.validation;
    lines.push(`Finetuning validation error ${before.toPrecision(3)} → ${after.toPrecision(3)} on held-back prompts`);
  }
  lines.push(`Stages     reused ${summary.reused} of ${summary.total}`);
  lines.push(`Output     ${summary.out}`);
  if (summary.report !== null) lines.push(`Report     ${summary.report}`);
  if (uiUrl !== null) lines.push(`Run        ${uiUrl}`);
  return lines.join('\n');
}

function scores(summary: RunSummary): string {
  const roles = summary.scores.length === 3 ? ROLES : (['floor', 'after'] as const);
  const columns = summary.scores.map((score, index) => ({
    ...score,
    role: roles[index] ?? 'after',
    samples: summary.samples,
  }));
  return scoreTable({ columns });
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(2)} MB`;
}
