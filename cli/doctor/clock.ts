import { randomUUID } from 'node:crypto';
import { type Check, ok } from './check.js';
import { reached } from './server.js';

/** Nights are due by the server's clock and their records are dated by the workers'; a minute's error is seen, seconds are not. */
const MOST_SKEW_MS = 5_000;
const PROBE = 'nibbleflowClockProbe';

/**
 * Compares this clock with the server's: a workflow that nobody runs is started, its start time read, and it is deleted.
 */
export const clock: Check = {
  name: 'clock',
  run: async (context) => {
    const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
    const compared = await compareClocks(context);
    return compared.length === 0
      ? [ok(`time zone ${zone}`)]
      : compared.map((line) => ({ ...line, what: `${line.what}; time zone ${zone}` }));
  },
};

const compareClocks = reached(async ({ client, namespace }) => {
  const before = Date.now();
  const workflowId = `${PROBE}-${randomUUID()}`;
  const handle = await client.workflow.start(PROBE, {
    workflowId,
    taskQueue: PROBE,
    workflowExecutionTimeout: '10 seconds',
  });
  try {
    const after = Date.now();
    const started = (await handle.describe()).startTime.getTime();
    const ahead = Math.max(0, started - after);
    const behind = Math.max(0, before - started);
    const what = `differs from the server’s by ${Math.max(ahead, behind) < MOST_SKEW_MS ? 'less than ' : ''}${(Math.max(ahead, behind, MOST_SKEW_MS) / 1000).toFixed(0)} s`;
    if (Math.max(ahead, behind) < MOST_SKEW_MS) return [ok(what)];
    return [{ state: 'warning', what, fix: 'Set both clocks by a time server: `timedatectl set-ntp true`.' }];
  } finally {
    await handle.terminate('only its start time was wanted');
    const workflowExecution = { workflowId, runId: handle.firstExecutionRunId };
    await client.workflowService.deleteWorkflowExecution({ namespace, workflowExecution });
  }
});
