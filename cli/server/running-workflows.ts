import type { Client } from '@temporalio/client';

/** How many workflows run whose workflow tasks this task queue's workers do. */
export async function countRunning(client: Client, taskQueue: string): Promise<number> {
  const query = `ExecutionStatus = 'Running' AND TaskQueue = '${taskQueue.replaceAll("'", "''")}'`;
  return (await client.workflow.count(query)).count;
}
