import { ApplicationFailure, CancelledFailure, Context } from '@temporalio/activity';
import { z } from 'zod';
import { type FailureKind, NibbleflowError } from '../contracts/errors.js';
import type { FailurePolicies } from '../contracts/failure-policy.js';

/** Three keep-alives fit in the heartbeat timeout. */
const KEEP_ALIVE_MS = 5_000;

/**
 * Runs an activity whose result depends on the world as it is now (folders, the server, receivers of messages): its input is
 * checked and its failures are typed as those of stages are, nothing is taken from the cache and nothing kept in it.
 */
export async function runUncached<Schema extends z.ZodType, Result>(
  policies: FailurePolicies,
  schema: Schema,
  rawInput: unknown,
  body: (input: z.output<Schema>, context: Context) => Promise<Result>,
): Promise<Result> {
  const input = schema.safeParse(rawInput);
  if (!input.success) {
    const what = `the input is not valid:\n${z.prettifyError(input.error)}`;
    throw ApplicationFailure.nonRetryable(what, 'InvalidInput' satisfies FailureKind);
  }
  const context = Context.current();
  const keepAlive = setInterval(() => context.heartbeat(), KEEP_ALIVE_MS);
  try {
    return await body(input.data, context);
  } catch (error) {
    throw asFailure(policies, context, error);
  } finally {
    clearInterval(keepAlive);
  }
}

function asFailure(policies: FailurePolicies, { info }: Context, error: unknown): unknown {
  if (error instanceof CancelledFailure || error instanceof ApplicationFailure) return error;
  const kind: FailureKind = error instanceof NibbleflowError ? error.kind : 'Internal';
  return ApplicationFailure.create({
    message: error instanceof Error ? error.message : String(error),
    type: kind,
    nonRetryable: info.attempt >= policies[kind].attempts,
    cause: error instanceof Error ? error : undefined,
  });
}
