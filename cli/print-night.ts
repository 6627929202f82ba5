import type { WorkflowHandle } from '@temporalio/client';
import type { NightSummary } from '../contracts/night-activities.js';
import { SUMMARY_QUERY } from '../contracts/run-summary.js';
import { nightText } from '../evaluation/nights/night-text.js';
import { type OutputFormat, print, printEvent } from './console-output.js';

/** A night for people: the verdict, a line for each pipeline, reports, who was told. */
export function nightSummaryText({ record, notified }: NightSummary, uiUrl: string | null): string {
  if (record === null) return 'The night was not judged.';
  const reports = record.pipelines.flatMap(({ report }) => (report === null ? [] : [`report  ${report}`]));
  return [nightText(record), ...reports, `told    ${notified}`, ...(uiUrl === null ? [] : [`run     ${uiUrl}`])].join(
    '\n',
  );
}

/** A night that fails on purpose has an outcome all the same: programs get it as they get that of a good one. */
export async function printFailedNight(handle: WorkflowHandle, format: OutputFormat): Promise<void> {
  if (format === 'text' || !handle.workflowId.startsWith('night/')) return;
  const summary = await handle.query<NightSummary>(SUMMARY_QUERY).catch(() => undefined);
  if (summary?.kind !== 'night') return;
  if (format === 'jsonl') printEvent('finished', { summary });
  else print(JSON.stringify(summary, null, 2));
}
