import type { Client } from '@temporalio/client';
import { RUN_STATES } from '../../contracts/run-control.js';

/** How many workflows run whose workflow tasks this task queue's workers do; those that are paused need nobody. */
export async function countRunning(client: Client, taskQueue: string): Promise<number> {
  const running = `ExecutionStatus = 'Running' AND TaskQueue = '${taskQueue.replaceAll("'", "''")}'`;
  const { count } = await client.workflow.count(running);
  if (count === 0) return 0;
  const paused = await client.workflow.count(`${running} AND NibbleState = '${RUN_STATES.paused}'`);
  return count - paused.count;
}
