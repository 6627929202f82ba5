import { setTimeout as sleep } from 'node:timers/promises';
import type { ScheduleDescription } from '@temporalio/client';
import { NibbleflowError } from '../../contracts/errors.js';
import type { ServerContext } from '../command-context.js';
import { say } from '../console-output.js';
import { runUrl, type SubmittedRun } from '../submit-run.js';
import { findNight } from './find-night.js';

/** The server starts a triggered run within seconds; cancel-other waits for the run before to end. */
const START_TIMEOUT_MS = 120_000;
const POLL_MS = 200;

/**
 * Runs a night now, by its own overlap policy: where that says no, the run that is under way is the answer. null when the
 * night waits for the one under way.
 */
export async function triggerNight({ client, services }: ServerContext, name: string): Promise<SubmittedRun | null> {
  const { handle, description, spec } = await findNight(client, name);
  const running = description.info.runningActions.at(-1);
  const submitted = async (workflowId: string, attached: boolean): Promise<SubmittedRun> => {
    const run = client.workflow.getHandle(workflowId);
    const { runId } = await run.describe();
    return { handle: run, workflowId, runId, attached, uiUrl: runUrl(services, workflowId, runId) };
  };
  if (running !== undefined) {
    const id = running.workflow.workflowId;
    say(`${id} still runs; overlap is ${spec.overlap}.`);
    if (spec.overlap === 'skip') return submitted(id, true);
  }
  const known = new Set(startedBy(description));
  // Without it the server would start a second run beside the one under way.
  await handle.trigger(description.policies.overlap);
  if (running !== undefined && spec.overlap !== 'cancel-other') return null;
  const deadline = Date.now() + START_TIMEOUT_MS;
  while (Date.now() < deadline) {
    const fresh = startedBy(await handle.describe()).find((id) => !known.has(id));
    if (fresh !== undefined) return submitted(fresh, false);
    await sleep(POLL_MS);
  }
  throw new NibbleflowError('ServerUnavailable', 'the server has not started the night after two minutes', {
    where: handle.scheduleId,
    fix: '`nibbleflow schedule list` tells what it did.',
  });
}

function startedBy({ info }: ScheduleDescription): string[] {
  return [...info.recentActions.map(({ action }) => action), ...info.runningActions].map(
    ({ workflow }) => workflow.workflowId,
  );
}
