import { setTimeout as sleep } from 'node:timers/promises';
import type { WorkflowHandle } from '@temporalio/client';
import type { EvaluationSummary } from '../contracts/evaluation-activities.js';
import type { NightSummary } from '../contracts/night-activities.js';
import type { RunProgress, RunSummary } from '../contracts/run-summary.js';
import type { SweepSummary } from '../contracts/sweep.js';
import { type OutputFormat, printEvent } from './console-output.js';
import { LineView } from './line-view.js';
import { RunFailedError, runEndOf } from './run-failure.js';
import { type RunSnapshot, runSnapshot } from './run-snapshot.js';
import type { RunView } from './run-view.js';
import { listenForInterruption } from './stop-watching.js';

const POLL_MS = 1_000;

/** What a run of each kind ends with. */
type FinishedSummary = RunSummary | EvaluationSummary | SweepSummary | NightSummary;

export type WatchEnd =
  | { readonly state: 'finished'; readonly summary: FinishedSummary }
  | { readonly state: 'detached' }
  | { readonly state: 'cancelled' };

/**
 * Shows a run's progress until it ends or Ctrl-C: once stops watching, twice cancels the run. Throws RunFailedError.
 */
export async function watchRun(
  handle: WorkflowHandle,
  format: OutputFormat,
  view: RunView = new LineView(),
): Promise<WatchEnd> {
  const ended = new AbortController();
  const interruption = listenForInterruption(() => {
    view.keep(`\nStopped watching; the run goes on. Ctrl-C again cancels it.`);
    view.keep(`  nibbleflow attach ${handle.workflowId}\n  nibbleflow cancel ${handle.workflowId}`);
    ended.abort();
  });
  const finished = resultOf(handle);
  const polling = poll(handle, view, format, ended.signal);
  try {
    const first = await Promise.race([finished, interruption.requested]);
    if (first === 'detach') return { state: 'detached' };
    if (first !== 'cancel') {
      ended.abort();
      await polling;
      if (first.state === 'finished') view.finish(first.summary.stages);
      return first;
    }
    view.keep('Cancelling the run…');
    await handle.cancel();
    return await finished;
  } finally {
    ended.abort();
    interruption.dispose();
    await polling;
    view.close();
  }
}

async function resultOf(handle: WorkflowHandle): Promise<WatchEnd> {
  try {
    return { state: 'finished', summary: (await handle.result()) as FinishedSummary };
  } catch (error) {
    const end = runEndOf(error);
    if (end?.state === 'cancelled') return { state: 'cancelled' };
    throw end === undefined ? error : new RunFailedError(end, handle.workflowId);
  }
}

async function poll(handle: WorkflowHandle, view: RunView, format: OutputFormat, ended: AbortSignal): Promise<void> {
  let progress: RunProgress | undefined;
  while (!ended.aborted) {
    const snapshot = await runSnapshot(handle, progress).catch(() => undefined);
    if (ended.aborted) return;
    if (snapshot !== undefined) {
      progress = snapshot.progress;
      view.show(snapshot);
      if (format === 'jsonl') printProgress(snapshot);
    }
    await sleep(POLL_MS, undefined, { signal: ended }).catch(() => undefined);
  }
}

function printProgress({ progress, activities, state }: RunSnapshot): void {
  if (progress === undefined) return;
  const running = progress.stages.find((row) => row.state === 'running' || row.state === 'paused');
  const inside = activities.find((activity) => activity.progress !== null)?.progress ?? null;
  const { done, total } = progress;
  printEvent('progress', { state, done, total, stage: running?.id ?? null, inside, activities });
}
