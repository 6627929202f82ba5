import type { NightSpec } from '../contracts/nights.js';
import type { StageRow } from '../contracts/run-summary.js';

/** Rows that no pipeline can be named like: names begin with a letter or a digit. */
export const JUDGE_ROW = '.judge';
export const TELL_ROW = '.tell';

/** The rows of a night: one for each pipeline, then the verdict and who is told of it. */
export function nightRows({ pipelines, protocol }: NightSpec): StageRow[] {
  const row = (id: string, stage: StageRow['stage'], title: string): StageRow => ({
    ...{ id, stage, title, state: 'pending', summary: '', seconds: 0 },
  });
  return [
    ...pipelines.map(({ name }) => row(name, 'evaluate', `evaluate ${name} (${protocol.name})`)),
    row(JUDGE_ROW, 'compare', 'compare with the nights before'),
    row(TELL_ROW, 'report', 'tell'),
  ];
}
