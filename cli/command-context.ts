import type { Client, WorkflowHandle } from '@temporalio/client';
import { NibbleflowError } from '../contracts/errors.js';
import { EVALUATE_WORKFLOW } from '../contracts/evaluation-activities.js';
import { NIGHT_WORKFLOW } from '../contracts/nights.js';
import { QUANTIZE_WORKFLOW } from '../contracts/run-summary.js';
import { SWEEP_WORKFLOW } from '../contracts/sweep.js';
import { say } from './console-output.js';
import { type LoadedConfig, loadConfig } from './load-config.js';
import { checkStoreUrl } from './open-store.js';
import { attachClient } from './server/clients.js';
import { connectionSettings, openClient } from './server/connection.js';
import { ensureServices } from './server/ensure-services.js';
import { RunFolder, type ServiceRecord } from './server/service-record.js';

/** What commands that talk to the server work with. */
export interface ServerContext {
  readonly loaded: LoadedConfig;
  readonly services: ServiceRecord;
  readonly client: Client;
}

/** Starts server and worker when needed, connects, and keeps both from going idle while `action` runs. */
export async function withServer<T>(action: (context: ServerContext) => Promise<T>): Promise<T> {
  const loaded = await loadConfig(process.cwd());
  checkStoreUrl(loaded);
  const detach = attachClient(new RunFolder(loaded.stateDir));
  try {
    const services = await ensureServices(loaded, say);
    const { options } = await connectionSettings();
    const { client, connection } = await openClient(services, options);
    try {
      return await action({ loaded, services, client });
    } finally {
      await connection.close();
    }
  } finally {
    detach();
  }
}

/** Every kind of run that people start. */
export const RUNS_QUERY = `WorkflowType = '${QUANTIZE_WORKFLOW}' OR WorkflowType = '${EVALUATE_WORKFLOW}' OR WorkflowType = '${SWEEP_WORKFLOW}' OR WorkflowType = '${NIGHT_WORKFLOW}'`;

/** The run with this id, or the newest whose id ends with it (`a1b2c3d4`). Throws InvalidInput when there is none. */
export async function findRun(client: Client, id: string): Promise<WorkflowHandle> {
  for await (const run of client.workflow.list({ query: RUNS_QUERY })) {
    if (run.workflowId === id || run.workflowId.endsWith(`/${id}`)) return client.workflow.getHandle(run.workflowId);
  }
  throw new NibbleflowError('InvalidInput', 'there is no such run', {
    where: id,
    fix: '`nibbleflow runs` lists them.',
  });
}
