import { ApplicationFailure, proxyActivities } from '@temporalio/workflow';
import { z } from 'zod';
import type { Activities } from '../contracts/activities.js';
import type { FailureKind } from '../contracts/errors.js';
import { ACTIVITY_RETRY, HEARTBEAT_TIMEOUT, START_TO_CLOSE_TIMEOUT } from './policies.js';

export interface SummarizedActivity {
  executeWithOptions(options: { summary: string }, args: unknown[]): Promise<unknown>;
}

/** The activities of a task queue, with the retries and timeouts that all stages have. */
export function activitiesOn(taskQueue: string) {
  return proxyActivities<Activities>({
    taskQueue,
    startToCloseTimeout: START_TO_CLOSE_TIMEOUT,
    heartbeatTimeout: HEARTBEAT_TIMEOUT,
    cancellationType: 'WAIT_CANCELLATION_COMPLETED',
    retry: ACTIVITY_RETRY,
  });
}

/** An activity that is called with what the UI shows beside it. */
export function summarized<Input, Result>(
  activity: (input: Input) => Promise<Result>,
  summaryOf: (input: Input) => string,
): (input: Input) => Promise<Result> {
  const shown = activity as unknown as SummarizedActivity;
  return async (input) => (await shown.executeWithOptions({ summary: summaryOf(input) }, [input])) as Result;
}

/** A bare `.parse()` would throw an error that Temporal retries for ever. */
export function parsed<Schema extends z.ZodType>(schema: Schema, value: unknown, what: string): z.output<Schema> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw ApplicationFailure.nonRetryable(
    `the ${what} is not valid:\n${z.prettifyError(result.error)}`,
    'InvalidRecipe' satisfies FailureKind,
  );
}
