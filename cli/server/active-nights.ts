import type { Client } from '@temporalio/client';
import { NIGHT_PREFIX } from '../../contracts/nights.js';

/** Schedules of nights that wait for the worker of this state folder; those that are paused wait for nobody. */
export async function countActiveNights(client: Client, host: string): Promise<number> {
  let count = 0;
  for await (const { scheduleId, state } of client.schedule.list()) {
    if (!scheduleId.startsWith(NIGHT_PREFIX) || state.paused) continue;
    const { action } = await client.schedule.getHandle(scheduleId).describe();
    const queues = action.args?.[1] as { host?: string } | undefined;
    if (queues?.host === host) count += 1;
  }
  return count;
}
