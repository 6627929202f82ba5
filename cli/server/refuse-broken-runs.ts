import { existsSync } from 'node:fs';
import type { Client } from '@temporalio/client';
import { NibbleflowError } from '../../contracts/errors.js';
import type { LoadedConfig } from '../load-config.js';
import { connectionSettings, openClient } from './connection.js';
import type { ServiceRecord } from './service-record.js';
import { workflowBundleFile } from './workflow-bundle-file.js';

/** Histories that are looked at: the newest runs. */
const MOST_RUNS = 50;
/** Run ids that the message names. */
const NAMED_RUNS = 3;

/**
 * Before a worker of another build takes the place of the one that runs: replays the history of every running run with this
 * build's workflows. Throws InvalidInput naming the runs that could not go on. With worker versioning none is in danger.
 */
export async function refuseBrokenRuns(
  loaded: LoadedConfig,
  services: Pick<ServiceRecord, 'address' | 'namespace'>,
): Promise<void> {
  if (loaded.config.worker.versioning !== null || !existsSync(workflowBundleFile())) return;
  await silenceRuntime();
  const { options } = await connectionSettings();
  const { client, connection } = await openClient(services, options);
  try {
    const broken = await brokenRuns(client, loaded.config.taskQueues.cpu.name, workflowBundleFile());
    if (broken.length > 0) throw refusal(broken);
  } finally {
    await connection.close();
  }
}

let isSilent = false;

/** What does not fit is told by the result: the SDK's own log would be noise on a terminal. */
async function silenceRuntime(): Promise<void> {
  if (isSilent) return;
  isSilent = true;
  const { DefaultLogger, Runtime } = await import('@temporalio/worker');
  const logging = { filter: 'OFF', forward: {} };
  Runtime.install({ logger: new DefaultLogger('ERROR', () => undefined), telemetryOptions: { logging } });
}

/** Workflow ids of running runs whose histories do not fit the workflows in a bundle. */
export async function brokenRuns(client: Client, taskQueue: string, codePath: string): Promise<string[]> {
  const query = `ExecutionStatus = 'Running' AND TaskQueue = '${taskQueue.replaceAll("'", "''")}'`;
  const histories = [];
  for await (const { workflowId, runId } of client.workflow.list({ query })) {
    const history = await client.workflow.getHandle(workflowId, runId).fetchHistory();
    histories.push({ workflowId, history });
    if (histories.length === MOST_RUNS) break;
  }
  if (histories.length === 0) return [];
  const { Worker } = await import('@temporalio/worker');
  const broken: string[] = [];
  for await (const { workflowId, error } of Worker.runReplayHistories({ workflowBundle: { codePath } }, histories)) {
    if (error !== undefined) broken.push(workflowId);
  }
  return broken;
}

function refusal(broken: readonly string[]): NibbleflowError {
  const named = broken.slice(0, NAMED_RUNS).join(', ');
  const more = broken.length > NAMED_RUNS ? ` and ${broken.length - NAMED_RUNS} more` : '';
  return new NibbleflowError(
    'InvalidInput',
    `the worker that runs is of another version, and ${broken.length} running ${broken.length === 1 ? 'run' : 'runs'} cannot go on with this one: ${named}${more}`,
    {
      fix: 'Let them end with the version that they were started with, or cancel them. `nibbleflow down` stops that version all the same: such runs then stand still until it is back.',
    },
  );
}
