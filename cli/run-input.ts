import type { WorkflowHandle } from '@temporalio/client';
import { defaultPayloadConverter } from '@temporalio/common';
import { NibbleflowError } from '../contracts/errors.js';

/** What a run was started with: the workflow's arguments, as its history keeps them. Throws InvalidInput. */
export async function runInput(handle: WorkflowHandle): Promise<{ spec: unknown; queues: unknown }> {
  const { events } = await handle.fetchHistory();
  const payloads = events?.[0]?.workflowExecutionStartedEventAttributes?.input?.payloads ?? [];
  const [spec, queues] = payloads.map((payload) => defaultPayloadConverter.fromPayload<unknown>(payload));
  if (spec !== undefined && queues !== undefined) return { spec, queues };
  throw new NibbleflowError('InvalidInput', 'what the run was started with is not known any more', {
    where: handle.workflowId,
    fix: 'Start it with its own command.',
  });
}
