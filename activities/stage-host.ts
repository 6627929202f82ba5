import { Context } from '@temporalio/activity';

/** Why a stage is stopped: its worker ends, it was cancelled or paused, or the server has given the attempt up. */
export type StopKind = 'shutdown' | 'cancelled' | 'lost';

/** What the frame needs from whoever runs it. */
export interface StageHost {
  /** Names one stage of one run, over all its attempts. */
  readonly run: string;
  /** Aborted when the stage is asked to stop. */
  readonly signal: AbortSignal;
  /** Why `signal` was aborted; default: cancelled. */
  readonly stopKind?: () => StopKind;
  /** Whose log the stage writes to; without it there is none. */
  readonly owner?: StageOwner;
  heartbeat(details: unknown): void;
}

/** Which run, activity and attempt a stage is. */
export interface StageOwner {
  /** Workflow id. */
  readonly run: string;
  readonly runId: string;
  readonly activityId: string;
  readonly attempt: number;
}

/** Three fit in the heartbeat timeout. */
const KEEP_ALIVE_MS = 5_000;

/** Keeps an activity alive during work that has no progress to tell: looking up a result in a store that is far away. */
export async function heartbeating<T>(host: StageHost, work: () => Promise<T>): Promise<T> {
  const timer = setInterval(() => host.heartbeat(undefined), KEEP_ALIVE_MS);
  try {
    return await work();
  } finally {
    clearInterval(timer);
  }
}

/** The current Temporal activity. */
export function temporalHost(): StageHost {
  const context = Context.current();
  const { workflowExecution, activityId, attempt } = context.info;
  const runId = workflowExecution?.runId ?? '';
  return {
    run: `${runId}/${activityId}`,
    signal: context.cancellationSignal,
    stopKind: () => {
      const { workerShutdown, notFound, timedOut, reset } = context.cancellationDetails ?? {};
      if (workerShutdown === true) return 'shutdown';
      return notFound === true || timedOut === true || reset === true ? 'lost' : 'cancelled';
    },
    owner: { run: workflowExecution?.workflowId ?? '', runId, activityId, attempt },
    heartbeat: (details) => context.heartbeat(details),
  };
}
