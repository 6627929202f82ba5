import { Context } from '@temporalio/activity';

/** What the frame needs from whoever runs it. */
export interface StageHost {
  /** Names the run, over all attempts of its stages: what failed before a pause counts after it. */
  readonly run: string;
  readonly signal: AbortSignal;
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

/** The current Temporal activity. */
export function temporalHost(): StageHost {
  const context = Context.current();
  const { workflowExecution, activityId, attempt } = context.info;
  const runId = workflowExecution?.runId ?? '';
  return {
    run: runId,
    signal: context.cancellationSignal,
    owner: { run: workflowExecution?.workflowId ?? '', runId, activityId, attempt },
    heartbeat: (details) => context.heartbeat(details),
  };
}
