import { ApplicationFailure, CancelledFailure } from '@temporalio/activity';
import { type FailureKind, NibbleflowError } from '../contracts/errors.js';
import type { RunLog } from './run-log.js';
import { StageFailures } from './stage-failures.js';
import type { ActivityDeps } from './stage-frame.js';
import { heartbeating, type StageHost } from './stage-host.js';

/** An attempt that ended because its worker does goes on as soon as another worker asks for work. */
const PREEMPTED_RETRY = '100 milliseconds';

/** Whose failure it is. */
export interface FailedAttempt {
  readonly host: StageHost;
  /** Names the stage's result; null: it failed before that was known, and is not counted. */
  readonly key: string | null;
  readonly log: RunLog;
}

/**
 * What the activity throws for an error of its stage: a cancellation as it is, the end of the worker as Preempted (tried
 * again at once, never counted), anything else as a failure of its kind, which is tried again as often as the policy table
 * says.
 */
export async function stageFailure(deps: ActivityDeps, attempt: FailedAttempt, error: unknown): Promise<unknown> {
  const { host, key, log } = attempt;
  const stop = stopOf(host, error);
  if (stop !== undefined) {
    const why = host.stopKind?.() ?? 'cancelled';
    if (key !== null) await new StageFailures(deps.store).stopped(key, host.run).catch(() => undefined);
    log.info('stage-stopped', `stopped: ${why}`, { why });
    return why === 'shutdown' ? preempted() : stop;
  }
  if (error instanceof ApplicationFailure) {
    log.error('stage-failed', error.message, { kind: error.type, retried: error.nonRetryable !== true });
    return error;
  }
  return counted(deps, attempt, error);
}

async function counted(deps: ActivityDeps, { host, key, log }: FailedAttempt, error: unknown): Promise<unknown> {
  const kind: FailureKind = error instanceof NibbleflowError ? error.kind : 'Internal';
  const { attempts, remedy } = deps.policies[kind];
  if (remedy === 'collect-garbage') await freeSpace(deps, host, log);
  const failures = key === null ? 1 : await new StageFailures(deps.store).add(key, host.run, kind);
  const message = error instanceof Error ? error.message : String(error);
  const nonRetryable = failures >= attempts;
  const facts = { kind, failures, attempts, remedy, retried: !nonRetryable };
  log[nonRetryable ? 'error' : 'warn']('stage-failed', message, facts);
  const cause = error instanceof Error ? error : undefined;
  return ApplicationFailure.create({ message, type: kind, nonRetryable, cause });
}

/** What cannot be collected is no reason to hide why it was to be. */
async function freeSpace({ store, freeSpace: collect }: ActivityDeps, host: StageHost, log: RunLog): Promise<void> {
  try {
    await heartbeating(host, async () => {
      await store.collectGarbage();
      await collect?.();
    });
  } catch (error) {
    log.warn('warning', `no garbage was collected: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function preempted(): ApplicationFailure {
  return ApplicationFailure.create({
    message: 'the worker was stopped; the stage goes on from its checkpoint on the next one',
    type: 'Preempted' satisfies FailureKind,
    nextRetryDelay: PREEMPTED_RETRY,
  });
}

/** Why the stage was stopped from outside; undefined when it failed by itself. */
function stopOf({ signal }: StageHost, error: unknown): unknown {
  if (error instanceof CancelledFailure) return error;
  if (error instanceof ApplicationFailure || !signal.aborted) return undefined;
  return signal.reason;
}
