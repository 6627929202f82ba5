import type { WorkflowHandle } from '@temporalio/client';
import type { ExitCode } from '../contracts/errors.js';
import type { SweepSummary } from '../contracts/sweep.js';
import { type OutputFormat, print, printEvent, say } from './console-output.js';
import { evaluationText } from './print-evaluation.js';
import { nightSummaryText, printFailedNight } from './print-night.js';
import { summaryText } from './print-summary.js';
import { sweepText } from './print-sweep.js';
import type { RunView } from './run-view.js';
import { watchRun } from './watch-run.js';

/** Watches a run to its end and prints what came out. Throws RunFailedError. */
export async function followRun(
  handle: WorkflowHandle,
  uiUrl: string | null,
  format: OutputFormat,
  view?: RunView,
): Promise<ExitCode> {
  const end = await watchRun(handle, format, view).catch(async (error: unknown) => {
    await printFailedNight(handle, format);
    throw error;
  });
  if (end.state === 'detached') return 130;
  if (end.state === 'cancelled') {
    say('The run was cancelled. Finished stages are kept: the same command continues after them.');
    return 130;
  }
  const { summary } = end;
  if (format === 'jsonl') printEvent('finished', { summary });
  else if (!('kind' in summary)) {
    print(format === 'json' ? JSON.stringify(summary, null, 2) : summaryText(summary, uiUrl));
  } else if (summary.kind === 'night') {
    print(format === 'json' ? JSON.stringify(summary, null, 2) : nightSummaryText(summary, uiUrl));
  } else if (summary.kind === 'sweep') {
    print(format === 'json' ? JSON.stringify(summary, null, 2) : sweepText(summary, uiUrl));
  } else print(format === 'json' ? JSON.stringify(summary.scores, null, 2) : evaluationText(summary, uiUrl));
  return 'kind' in summary && summary.kind === 'sweep' && hasFailed(summary) ? 4 : 0;
}

/** A sweep goes on without the runs that fail: its exit code tells of them. */
function hasFailed({ cells }: SweepSummary): boolean {
  return cells.some(({ state }) => state === 'failed');
}
