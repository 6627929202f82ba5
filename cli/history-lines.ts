import type { WorkflowHandle } from '@temporalio/client';
import { defaultPayloadConverter } from '@temporalio/common';
import { PAUSE_UPDATE, RESUME_UPDATE } from '../contracts/run-control.js';
import type { StageOutcome } from '../contracts/stages.js';
import type { LogLine } from './log-line.js';
import { failureKind } from './run-snapshot.js';

type HistoryEvent = NonNullable<Awaited<ReturnType<WorkflowHandle['fetchHistory']>>['events']>[number];
type Told = Pick<LogLine, 'level' | 'event' | 'msg'> & Partial<Pick<LogLine, 'stage' | 'activityId' | 'attempt'>>;
type Payload = Parameters<typeof defaultPayloadConverter.fromPayload>[0];

/** An activity as it was scheduled and last started. */
interface Scheduled {
  readonly activityId: string;
  readonly stage: string;
  attempt: number;
}

/** What the server's history says of a run, as lines of its log: also of workers whose own logs are elsewhere. */
export function historyLines(events: readonly HistoryEvent[], run: string, runId: string): LogLine[] {
  const scheduled = new Map<string, Scheduled>();
  return events.flatMap((event) => {
    const time = timeOf(event);
    return linesOf(event, scheduled).map((told) => ({ time, source: 'server' as const, run, runId, ...told }));
  });
}

function linesOf(event: HistoryEvent, scheduled: Map<string, Scheduled>): Told[] {
  const activity = event.activityTaskScheduledEventAttributes;
  if (activity) {
    const summary = event.userMetadata?.summary;
    const stage = summary ? String(payloadValue(summary)) : (activity.activityType?.name ?? '');
    scheduled.set(String(event.eventId), { activityId: activity.activityId ?? '', stage, attempt: 1 });
    return [];
  }
  return activityLines(event, scheduled) ?? runLines(event);
}

function activityLines(event: HistoryEvent, scheduled: Map<string, Scheduled>): Told[] | undefined {
  const attributes =
    event.activityTaskStartedEventAttributes ??
    event.activityTaskCompletedEventAttributes ??
    event.activityTaskFailedEventAttributes ??
    event.activityTaskTimedOutEventAttributes ??
    event.activityTaskCanceledEventAttributes;
  if (!attributes) return undefined;
  const owner = scheduled.get(String(attributes.scheduledEventId));
  if (owner === undefined) return [];
  return toldOf(event, owner).map((told) => ({ ...owner, ...told }));
}

function toldOf(event: HistoryEvent, owner: Scheduled): Told[] {
  const started = event.activityTaskStartedEventAttributes;
  if (started) {
    owner.attempt = started.attempt ?? 1;
    const { lastFailure } = started;
    const begun: Told = { level: 'info', event: 'stage-started', msg: `started on ${started.identity ?? ''}` };
    if (!lastFailure) return [begun];
    const lost = Boolean(lastFailure.timeoutFailureInfo);
    const why = lost
      ? 'its worker was lost: no heartbeat came'
      : `${failureKind(lastFailure)}: ${firstLine(lastFailure.message)}`;
    return [{ level: 'warn', event: lost ? 'heartbeat-lost' : 'stage-retried', msg: `is tried again: ${why}` }, begun];
  }
  const completed = event.activityTaskCompletedEventAttributes;
  if (completed) return [outcomeLine(completed.result?.payloads?.[0])];
  const failed = event.activityTaskFailedEventAttributes ?? event.activityTaskTimedOutEventAttributes;
  if (failed) {
    const kind = failed.failure ? failureKind(failed.failure) : 'Internal';
    return [{ level: 'error', event: 'stage-failed', msg: `${kind}: ${firstLine(failed.failure?.message)}` }];
  }
  return [{ level: 'info', event: 'stage-stopped', msg: 'stopped' }];
}

function outcomeLine(payload: Payload | undefined): Told {
  const outcome = payload === undefined ? undefined : (payloadValue(payload) as Partial<StageOutcome>);
  const event = outcome?.reused === true ? 'stage-reused' : 'stage-finished';
  return { level: 'info', event, msg: outcome?.summary ?? '' };
}

const UPDATES: Readonly<Record<string, readonly [string, string]>> = {
  [PAUSE_UPDATE]: ['run-paused', 'the run is paused'],
  [RESUME_UPDATE]: ['run-resumed', 'the run is resumed'],
};

function runLines(event: HistoryEvent): Told[] {
  const line = (level: LogLine['level'], name: string, msg: string): Told[] => [{ level, event: name, msg }];
  if (event.workflowExecutionStartedEventAttributes) return line('info', 'run-started', 'the run starts');
  const update = UPDATES[event.workflowExecutionUpdateAcceptedEventAttributes?.acceptedRequest?.input?.name ?? ''];
  if (update !== undefined) return line('info', ...update);
  if (event.workflowExecutionCancelRequestedEventAttributes)
    return line('warn', 'cancel-requested', 'is to be cancelled');
  if (event.workflowExecutionCompletedEventAttributes) return line('info', 'run-finished', 'the run has succeeded');
  if (event.workflowExecutionCanceledEventAttributes) return line('warn', 'run-cancelled', 'the run was cancelled');
  if (event.workflowExecutionTerminatedEventAttributes)
    return line('error', 'run-terminated', 'the run was terminated');
  if (event.workflowExecutionTimedOutEventAttributes) return line('error', 'run-timed-out', 'the run has timed out');
  const failed = event.workflowExecutionFailedEventAttributes;
  return failed ? line('error', 'run-failed', `the run has failed: ${rootMessage(failed.failure)}`) : [];
}

type Failure = { readonly message?: string | null; readonly cause?: Failure | null };

/** What the innermost failure says: those around it say that an activity has failed. */
function rootMessage(failure: Failure | null | undefined): string {
  if (failure?.cause) return rootMessage(failure.cause);
  return firstLine(failure?.message);
}

function firstLine(text: string | null | undefined): string {
  return (text ?? '').split('\n')[0] ?? '';
}

function payloadValue(payload: Payload): unknown {
  return defaultPayloadConverter.fromPayload(payload);
}

function timeOf({ eventTime }: HistoryEvent): string {
  const { seconds = 0, nanos = 0 } = eventTime ?? {};
  return new Date(Number(seconds) * 1000 + (nanos ?? 0) / 1e6).toISOString();
}
