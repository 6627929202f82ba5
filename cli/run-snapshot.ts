import type { WorkflowHandle } from '@temporalio/client';
import { defaultPayloadConverter } from '@temporalio/common';
import { PROGRESS_QUERY, type RunProgress } from '../contracts/run-summary.js';
import { type Progress, progressSchema } from '../contracts/stages.js';

/** A busy worker answers queries late: the last answer is shown until then. */
const QUERY_TIMEOUT_MS = 3_000;
/** temporal.api.enums.v1.PendingActivityState */
const STARTED = 2;

/** An activity that runs, waits for a worker, or waits to be tried again. */
export interface ActivityNow {
  readonly activityId: string;
  readonly type: string;
  readonly isRunning: boolean;
  readonly attempt: number;
  /** Who runs it, or ran its last attempt; null before the first. */
  readonly worker: string | null;
  readonly progress: Progress | null;
  /** How its last attempt failed: the kind, and what it said. */
  readonly failure: { readonly kind: string; readonly message: string } | null;
}

/** A run at one moment. */
export interface RunSnapshot {
  readonly workflowId: string;
  readonly runId: string;
  /** running, pausing, paused, completed, failed, cancelled, terminated, timed_out */
  readonly state: string;
  readonly startedAt: Date;
  readonly endedAt: Date | null;
  readonly historyLength: number;
  /** undefined until the workflow has answered once. */
  readonly progress: RunProgress | undefined;
  readonly activities: readonly ActivityNow[];
}

/** Looks at a run: one description, one query. `last` is what the query answered before. */
export async function runSnapshot(handle: WorkflowHandle, last?: RunProgress): Promise<RunSnapshot> {
  const [description, answer] = await Promise.all([handle.describe(), queryProgress(handle)]);
  const progress = answer ?? last;
  const activities = (description.raw.pendingActivities ?? []).map(activityNow);
  const status = description.status.name.toLowerCase();
  const isPaused = status === 'running' && (progress?.pausedSince ?? null) !== null;
  return {
    workflowId: handle.workflowId,
    runId: description.runId,
    state: isPaused ? (activities.length > 0 ? 'pausing' : 'paused') : status,
    startedAt: description.startTime,
    endedAt: description.closeTime ?? null,
    historyLength: description.historyLength,
    progress,
    activities,
  };
}

function queryProgress(handle: WorkflowHandle): Promise<RunProgress | undefined> {
  return handle.client.connection
    .withDeadline(Date.now() + QUERY_TIMEOUT_MS, () => handle.query<RunProgress>(PROGRESS_QUERY))
    .catch(() => undefined);
}

type Description = Awaited<ReturnType<WorkflowHandle['describe']>>;
type PendingActivity = NonNullable<Description['raw']['pendingActivities']>[number];

function activityNow(pending: PendingActivity): ActivityNow {
  const { lastFailure } = pending;
  return {
    activityId: pending.activityId ?? '',
    type: pending.activityType?.name ?? '',
    isRunning: pending.state === STARTED,
    attempt: pending.attempt ?? 1,
    worker: pending.lastWorkerIdentity || null,
    progress: progressOf(pending),
    failure: lastFailure ? { kind: failureKind(lastFailure), message: lastFailure.message ?? '' } : null,
  };
}

/** What the type of a failure on the wire is called here. */
export function failureKind(failure: NonNullable<PendingActivity['lastFailure']>): string {
  if (failure.applicationFailureInfo) return failure.applicationFailureInfo.type || 'Internal';
  if (failure.timeoutFailureInfo) return 'worker lost';
  return failure.canceledFailureInfo ? 'stopped' : 'Internal';
}

function progressOf(pending: PendingActivity): Progress | null {
  const payload = pending.heartbeatDetails?.payloads?.[0];
  if (!payload) return null;
  return progressSchema.safeParse(defaultPayloadConverter.fromPayload(payload)).data ?? null;
}
