import { FAILURE_KINDS, type FailureKind, NibbleflowError } from '../contracts/errors.js';

/** How a run that did not succeed ended. */
export type RunEnd =
  | { readonly state: 'failed'; readonly kind: FailureKind; readonly message: string }
  | { readonly state: 'cancelled' | 'terminated' | 'timed-out' };

/** Reads the chain of causes of a WorkflowFailedError by its shape; undefined for other errors. */
export function runEndOf(error: unknown): RunEnd | undefined {
  if (!(error instanceof Error) || error.name !== 'WorkflowFailedError') return undefined;
  const chain = causes(error);
  const application = chain.findLast((cause) => cause.name === 'ApplicationFailure');
  if (application !== undefined) {
    const type = (application as { type?: string | null }).type ?? '';
    const kind = FAILURE_KINDS.find((known) => known === type) ?? 'Internal';
    return { state: 'failed', kind, message: application.message };
  }
  if (chain.some((cause) => cause.name === 'CancelledFailure')) return { state: 'cancelled' };
  if (chain.some((cause) => cause.name === 'TerminatedFailure')) return { state: 'terminated' };
  if (chain.some((cause) => cause.name === 'TimeoutFailure')) return { state: 'timed-out' };
  return { state: 'failed', kind: 'Internal', message: chain.at(-1)?.message ?? error.message };
}

/** The error to end a command with. A failure nobody can act on by its kind still says that the run failed. */
export class RunFailedError extends NibbleflowError {
  constructor(
    readonly end: RunEnd,
    workflowId: string,
  ) {
    const failed = end.state === 'failed';
    // A message of several lines says itself what to do.
    const advises = failed && !end.message.includes('\n');
    super(failed ? end.kind : 'Internal', failed ? `the run failed: ${end.message}` : `the run was ${end.state}`, {
      where: workflowId,
      fix: advises ? 'The same command continues where it failed: finished stages are reused.' : undefined,
    });
  }
}

function causes(error: Error): Error[] {
  const chain: Error[] = [];
  for (let current: unknown = error.cause; current instanceof Error; current = current.cause) chain.push(current);
  return chain;
}
