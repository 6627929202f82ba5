import type { EvaluationSummary } from '../contracts/evaluation-activities.js';
import { scoreTable } from './score-table.js';

/** The end of an evaluation for people: scores, protocol, what was reused, where things are. */
export function evaluationText(summary: EvaluationSummary, uiUrl: string | null): string {
  return [
    scoreTable(summary.scores),
    '',
    `Protocol   ${summary.protocol} (${summary.protocolDigest.slice(0, 12)})`,
    `Stages     reused ${summary.reused} of ${summary.total}`,
    `Output     ${summary.out}`,
    ...(summary.report === null ? [] : [`Report     ${summary.report}`]),
    ...(uiUrl === null ? [] : [`Run        ${uiUrl}`]),
  ].join('\n');
}
