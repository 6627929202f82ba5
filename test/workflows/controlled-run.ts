import { proxyActivities, setHandler } from '@temporalio/workflow';
import type { StartOptions } from '../../contracts/run-control.js';
import { startOptionsSchema } from '../../contracts/run-control.js';
import type { StageOutcome } from '../../contracts/stages.js';
import { progressQuery } from '../../workflows/quantize-pipeline.js';
import { RunControl } from '../../workflows/run-control.js';

export interface ControlledActivities {
  count(input: { name: string }): Promise<StageOutcome & { readonly total: number }>;
}

/** Two rows under RunControl: one activity, then two at the same time. */
export async function controlledRun(taskQueue: string, rawOptions?: StartOptions): Promise<number[]> {
  const control = new RunControl(startOptionsSchema.parse(rawOptions), () => undefined);
  setHandler(progressQuery, () => ({ schemaVersion: 1, done: 0, total: 2, stages: [], pausedSince: control.since }));
  const { count } = proxyActivities<ControlledActivities>({
    taskQueue,
    startToCloseTimeout: '1 minute',
    heartbeatTimeout: '3 seconds',
    cancellationType: 'WAIT_CANCELLATION_COMPLETED',
  });
  const call = control.summarized(count, ({ name }) => name);
  control.enter('first');
  const first = await call({ name: 'one' });
  control.enter('second');
  const both = await Promise.all([call({ name: 'two' }), call({ name: 'three' })]);
  return [first, ...both].map(({ total }) => total);
}
