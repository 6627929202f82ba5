import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { WorkflowHandle } from '@temporalio/client';
import { bundleWorkflowCode, DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { brokenRuns } from '../../cli/server/refuse-broken-runs.js';
import {
  currentBuildId,
  makeCurrent,
  versionOptions,
  type WorkerVersion,
  workerVersion,
} from '../../cli/server/worker-versions.js';
import { configSchema } from '../../contracts/config.js';
import { startTestServer, type TestServer } from './temporal-for-tests.js';

const DEPLOYMENT = 'nibbleflow-test';
const logger = new DefaultLogger('ERROR');

let server: TestServer;
let connection: NativeConnection;
const bundles: Record<string, { code: string }> = {};

beforeAll(async () => {
  Runtime.install({ logger });
  server = await startTestServer();
  connection = await NativeConnection.connect({ address: server.address });
  for (const name of ['first', 'second']) {
    const workflowsPath = join(import.meta.dirname, 'versions', `${name}.ts`);
    bundles[name] = await bundleWorkflowCode({ workflowsPath, logger });
  }
});
afterAll(async () => {
  await connection.close();
  await server.stop();
});

const versionOf = (buildId: string): WorkerVersion => ({ deploymentName: DEPLOYMENT, buildId });

/** A worker of one bundle; its activities tell which it is. */
async function startWorker(
  name: string,
  taskQueue: string,
  version: WorkerVersion | null,
): Promise<() => Promise<void>> {
  const told = async (): Promise<string> => name;
  const worker = await Worker.create({
    ...{ connection, taskQueue, workflowBundle: bundles[name] ?? { code: '' } },
    activities: { prepare: told, check: told, compute: told },
    ...versionOptions(version),
  });
  const running = worker.run();
  return async () => {
    worker.shutdown();
    await running;
  };
}

async function start(taskQueue: string, workflowId: string): Promise<WorkflowHandle> {
  return server.client.workflow.start('deployed', { taskQueue, workflowId });
}

/** Until the run waits for its signal. */
async function untilWaiting(handle: WorkflowHandle): Promise<void> {
  for (;;) {
    const { events } = await handle.fetchHistory();
    if (events?.some(({ activityTaskCompletedEventAttributes: done }) => done)) return;
    await sleep(50);
  }
}

describe('worker.versioning', () => {
  it('is off unless a deployment is named, whose version is then this build', () => {
    expect(workerVersion(configSchema.parse({}).worker)).toBeNull();
    expect(versionOptions(null)).toEqual({});
    const { worker } = configSchema.parse({ worker: { versioning: { deployment: 'prod' } } });
    expect(workerVersion(worker)).toMatchObject({ deploymentName: 'prod' });
    expect(workerVersion(worker)?.buildId).toMatch(/^\d+\.\d+\.\d+-[0-9a-f]{8}$/);
    expect(workerVersion({ ...worker, versioning: { deployment: 'prod', buildId: 'v7' } })?.buildId).toBe('v7');
  });

  it('keeps a run on the version that it was started on, and starts new ones on the current version', async () => {
    const queue = 'versioned';
    const stopFirst = await startWorker('first', queue, versionOf('v1'));
    expect(await makeCurrent(server.client, 'default', versionOf('v1'), { always: false })).toBe(true);
    const old = await start(queue, 'old');
    await untilWaiting(old);
    const stopSecond = await startWorker('second', queue, versionOf('v2'));
    // A later version is not current by itself ...
    expect(await makeCurrent(server.client, 'default', versionOf('v2'), { always: false })).toBe(false);
    expect(await currentBuildId(server.client, 'default', DEPLOYMENT)).toBe('v1');
    // ... but when it is told to be.
    expect(await makeCurrent(server.client, 'default', versionOf('v2'), { always: true })).toBe(true);
    expect(await currentBuildId(server.client, 'default', DEPLOYMENT)).toBe('v2');
    const fresh = await start(queue, 'fresh');
    await untilWaiting(fresh);
    await Promise.all([old.signal('goOn'), fresh.signal('goOn')]);
    expect(await old.result()).toEqual(['first', 'first', 'first']);
    expect(await fresh.result()).toEqual(['second', 'second', 'second']);
    await Promise.all([stopFirst(), stopSecond()]);
  });

  it('is what helps: without it the run that is replayed by other code gets stuck', async () => {
    const queue = 'unversioned';
    const stopFirst = await startWorker('first', queue, null);
    const old = await start(queue, 'stuck');
    await untilWaiting(old);
    const codeOf = async (name: string): Promise<string> => {
      const path = join(server.folder, `${name}.js`);
      await writeFile(path, bundles[name]?.code ?? '');
      return path;
    };
    // Which is found out before the worker is replaced.
    expect(await brokenRuns(server.client, queue, await codeOf('first'))).toEqual([]);
    expect(await brokenRuns(server.client, queue, await codeOf('second'))).toEqual(['stuck']);
    await stopFirst();
    const stopSecond = await startWorker('second', queue, null);
    await old.signal('goOn');
    for (;;) {
      const { events } = await old.fetchHistory();
      const failed = events?.find(
        ({ workflowTaskFailedEventAttributes: task }) => task,
      )?.workflowTaskFailedEventAttributes;
      if (failed) {
        expect(failed.failure?.message).toContain('TMPRL1100');
        break;
      }
      await sleep(50);
    }
    expect((await old.describe()).status.name).toBe('RUNNING');
    await old.terminate();
    await stopSecond();
    // A run that nobody has begun goes on with any version.
    const queued = await start('nobody', 'queued');
    expect(await brokenRuns(server.client, 'nobody', await codeOf('second'))).toEqual([]);
    await queued.terminate();
  });
});
