import type { WorkflowHandle } from '@temporalio/client';
import { type ExitCode, NibbleflowError } from '../contracts/errors.js';
import { type ControlState, PAUSE_UPDATE, RESUME_UPDATE } from '../contracts/run-control.js';
import { SWEEP_WORKFLOW } from '../contracts/sweep.js';
import { findRun, withServer } from './command-context.js';
import { type OutputFormat, print, printEvent, say } from './console-output.js';

/** What differs between pausing and resuming. */
const VERBS = {
  pause: { update: PAUSE_UPDATE, doing: 'Pausing', done: 'Paused', next: 'Go on with: nibbleflow resume' },
  resume: { update: RESUME_UPDATE, doing: 'Resuming', done: 'Resumed', next: 'Follow it with: nibbleflow attach' },
} as const;

/** Pauses or resumes a run; returns when it is so. Throws InvalidInput for a run that is so already, or that does not run. */
export async function controlRun(id: string, verb: keyof typeof VERBS, format: OutputFormat): Promise<ExitCode> {
  const { update, doing, done, next } = VERBS[verb];
  return withServer(async ({ client }) => {
    const handle = await findRun(client, id);
    const { workflowId } = handle;
    await refuseOthers(handle, verb);
    say(`${doing} ${workflowId}…`);
    const state = await updated(handle, update);
    if (format === 'json') print(JSON.stringify({ schemaVersion: 1, workflowId, ...state }));
    else if (format === 'jsonl') printEvent(verb === 'pause' ? 'paused' : 'resumed', { workflowId, ...state });
    else print(`${done} ${workflowId}${state.stages.length === 0 ? '' : ` at ${state.stages.join(', ')}`}`);
    say(`${next} ${workflowId}`);
    return 0 as const;
  });
}

async function refuseOthers(handle: WorkflowHandle, verb: string): Promise<void> {
  const { status, type } = await handle.describe();
  const where = handle.workflowId;
  if (status.name !== 'RUNNING') {
    throw new NibbleflowError('InvalidInput', `the run is not running: it is ${status.name.toLowerCase()}`, {
      where,
      fix: 'nibbleflow retry starts a run again.',
    });
  }
  if (type !== SWEEP_WORKFLOW) return;
  throw new NibbleflowError('InvalidInput', `a sweep cannot be ${verb}d as a whole`, {
    where,
    fix: `Its cells are runs of their own: nibbleflow runs --state running, then nibbleflow ${verb} <run>.`,
  });
}

async function updated(handle: WorkflowHandle, update: string): Promise<ControlState> {
  const { WorkflowUpdateFailedError } = await import('@temporalio/client');
  try {
    return await handle.executeUpdate<ControlState, []>(update);
  } catch (error) {
    if (!(error instanceof WorkflowUpdateFailedError)) throw error;
    const what = error.cause?.message ?? error.message;
    throw new NibbleflowError('InvalidInput', what, { where: handle.workflowId, cause: error });
  }
}
