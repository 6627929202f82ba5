import { setTimeout as sleep } from 'node:timers/promises';
import type { WorkflowHandle } from '@temporalio/client';
import { defaultPayloadConverter } from '@temporalio/common';
import type { EvaluationSummary } from '../contracts/evaluation-activities.js';
import type { NightSummary } from '../contracts/night-activities.js';
import { PROGRESS_QUERY, type RunProgress, type RunSummary, type StageRow } from '../contracts/run-summary.js';
import { type Progress, progressSchema } from '../contracts/stages.js';
import type { SweepSummary } from '../contracts/sweep.js';
import { type OutputFormat, printEvent } from './console-output.js';
import { progressLine } from './progress-line.js';
import { ProgressView } from './progress-view.js';
import { RunFailedError, runEndOf } from './run-failure.js';
import { listenForInterruption } from './stop-watching.js';

const POLL_MS = 1_000;
/** A busy worker answers queries late: the last answer is shown until then. */
const QUERY_TIMEOUT_MS = 3_000;

/** What a run of each kind ends with. */
type FinishedSummary = RunSummary | EvaluationSummary | SweepSummary | NightSummary;

export type WatchEnd =
  | { readonly state: 'finished'; readonly summary: FinishedSummary }
  | { readonly state: 'detached' }
  | { readonly state: 'cancelled' };

/**
 * Shows a run's progress until it ends or Ctrl-C: once stops watching, twice cancels the run. Throws RunFailedError.
 */
export async function watchRun(handle: WorkflowHandle, format: OutputFormat): Promise<WatchEnd> {
  const view = new ProgressView();
  const ended = new AbortController();
  const interruption = listenForInterruption(() => {
    view.keep(`\nStopped watching; the run goes on. Ctrl-C again cancels it.`);
    view.keep(`  nibbleflow attach ${handle.workflowId}\n  nibbleflow cancel ${handle.workflowId}`);
    ended.abort();
  });
  const finished = resultOf(handle);
  const polling = poll(handle, view, format, ended.signal);
  let shown: ReadonlySet<string>;
  try {
    const first = await Promise.race([finished, interruption.requested]);
    if (first === 'detach') return { state: 'detached' };
    if (first !== 'cancel') {
      ended.abort();
      shown = await polling;
      if (first.state === 'finished') keepFinished(first.summary.stages, shown, view);
      return first;
    }
    view.keep('Cancelling the run…');
    await handle.cancel();
    return await finished;
  } finally {
    ended.abort();
    interruption.dispose();
    await polling;
    view.clear();
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

async function poll(
  handle: WorkflowHandle,
  view: ProgressView,
  format: OutputFormat,
  ended: AbortSignal,
): Promise<ReadonlySet<string>> {
  let progress: RunProgress | undefined;
  let shown: ReadonlySet<string> = new Set();
  while (!ended.aborted) {
    progress = (await queryProgress(handle)) ?? progress;
    const inside = await insideProgress(handle);
    if (ended.aborted) return shown;
    if (progress !== undefined) {
      shown = keepFinished(progress.stages, shown, view);
      const running = progress.stages.find((row) => row.state === 'running');
      view.show(progressLine(progress, inside), running?.id ?? '');
      if (format === 'jsonl')
        printEvent('progress', { done: progress.done, total: progress.total, stage: running?.id ?? null, inside });
    }
    await sleep(POLL_MS, undefined, { signal: ended }).catch(() => undefined);
  }
  return shown;
}

/** A line for each stage that ended since the last look. */
function keepFinished(
  stages: readonly StageRow[],
  shown: ReadonlySet<string>,
  view: ProgressView,
): ReadonlySet<string> {
  const ended = stages.filter(({ state }) => state === 'done' || state === 'reused' || state === 'failed');
  for (const row of ended.filter(({ id }) => !shown.has(id))) {
    const time = row.state === 'reused' ? 'reused' : `${row.seconds.toFixed(1)} s`;
    view.keep(
      `${row.state === 'failed' ? '✗' : '✓'} ${row.title} · ${time}${row.summary === '' ? '' : ` · ${row.summary}`}`,
    );
  }
  return new Set(ended.map(({ id }) => id));
}

async function queryProgress(handle: WorkflowHandle): Promise<RunProgress | undefined> {
  const connection = handle.client.connection;
  return connection
    .withDeadline(Date.now() + QUERY_TIMEOUT_MS, () => handle.query<RunProgress>(PROGRESS_QUERY))
    .catch(() => undefined);
}

/** Heartbeat details of the activity that runs. */
async function insideProgress(handle: WorkflowHandle): Promise<Progress | null> {
  const description = await handle.describe().catch(() => undefined);
  for (const activity of description?.raw.pendingActivities ?? []) {
    const payload = activity.heartbeatDetails?.payloads?.[0];
    if (payload === undefined || payload === null) continue;
    const parsed = progressSchema.safeParse(defaultPayloadConverter.fromPayload(payload));
    if (parsed.success) return parsed.data;
  }
  return null;
}
