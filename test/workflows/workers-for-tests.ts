import { join } from 'node:path';
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import { ACTIVITY_FACTORIES } from '../../activities/activity-factories.js';
import { createActivities } from '../../activities/create-activities.js';
import { EnginePool } from '../../activities/engine-pool.js';
import { LocalStore } from '../../activities/store/local-store.js';
import { workflowBundleFile } from '../../cli/server/workflow-bundle-file.js';
import { FAILURE_POLICIES } from '../../workflows/policies.js';
import type { TestServer } from './temporal-for-tests.js';

/** Identities of the workers that compute. */
export const COMPUTING = ['gpu worker 1', 'gpu worker 2'] as const;

/** The real activities on workers of a test's own. */
export interface TestWorkers {
  readonly store: LocalStore;
  stop(): Promise<void>;
}

/** One worker for workflows and light activities, and two that compute, one activity at a time each, on a store they share. */
export async function startTestWorkers(
  { address, folder }: Pick<TestServer, 'address' | 'folder'>,
  queues: { readonly cpu: string; readonly gpu: string },
): Promise<TestWorkers> {
  Runtime.install({ logger: new DefaultLogger('ERROR') });
  const engines = new EnginePool();
  const store = await LocalStore.open(join(folder, 'store'));
  const activities = createActivities({ store, engines, policies: FAILURE_POLICIES, facts: {} }, ACTIVITY_FACTORIES);
  // A connection each, as processes of their own have: one connection takes a single worker for a queue.
  const connect = (): Promise<NativeConnection> => NativeConnection.connect({ address });
  const connection = await connect();
  const others = await Promise.all(COMPUTING.map(connect));
  const workflowBundle = { codePath: workflowBundleFile() };
  const workers = await Promise.all([
    Worker.create({ connection, activities, taskQueue: queues.cpu, workflowBundle }),
    ...COMPUTING.map((identity, index) =>
      Worker.create({
        connection: others[index],
        activities,
        taskQueue: queues.gpu,
        identity,
        maxConcurrentActivityTaskExecutions: 1,
      }),
    ),
  ]);
  const running = Promise.all(workers.map((worker) => worker.run()));
  return {
    store,
    stop: async () => {
      for (const worker of workers) worker.shutdown();
      await running;
      await Promise.all([connection, ...others].map((each) => each.close()));
      await engines.close();
    },
  };
}
