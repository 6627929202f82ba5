import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { NativeConnection, Worker, type WorkerOptions } from '@temporalio/worker';
import { ACTIVITY_FACTORIES } from '../../activities/activity-factories.js';
import { createActivities } from '../../activities/create-activities.js';
import { EnginePool } from '../../activities/engine-pool.js';
import { deviceLeasing } from '../../activities/leased-engine.js';
import { machineFacts } from '../../activities/machine-facts.js';
import type { ActivityDeps } from '../../activities/stage-frame.js';
import { FAILURE_POLICIES } from '../../workflows/policies.js';
import { type LoadedConfig, loadConfig } from '../load-config.js';
import { openStore } from '../open-store.js';
import { compiledFile } from '../package-root.js';
import { resolveEvaluation } from '../prepare-evaluation.js';
import { connectionSettings, openClient } from './connection.js';
import { freeSpace } from './free-space.js';
import { hostQueue } from './host-queue.js';
import { observeRuns } from './observe-runs.js';
import { makeCurrent, versionOptions, type WorkerVersion, workerVersion } from './worker-versions.js';
import { workflowBundleFile } from './workflow-bundle-file.js';

/** How often pending heartbeats are sent: the delay of a cancellation and of the progress that people see. */
const HEARTBEAT_INTERVAL = '1 second';
/** What remains of the grace time when stages are aborted: to clean up, to tell the server, to end the engines. */
const SHUTDOWN_RESERVE_MS = 3_000;

/**
 * The worker's process: one Worker per task queue in it, one store, one pool of engines. Started by the supervisor or
 * `nibbleflow worker` with address, namespace and the queues to serve as arguments; stops on SIGTERM, SIGINT or when the
 * supervisor is gone: stages write a checkpoint at their next step and go on from it on the next worker.
 */
async function main(address: string, namespace: string, queues: readonly string[], always: boolean): Promise<void> {
  const loaded = await loadConfig(process.cwd());
  const { config } = loaded;
  const observers = await observeRuns(loaded);
  const engines = new EnginePool();
  const store = await openStore(loaded);
  const graceMs = 1000 * config.worker.graceSeconds;
  const shutdownGraceMs = graceMs - SHUTDOWN_RESERVE_MS;
  const deps = {
    store,
    engines,
    policies: FAILURE_POLICIES,
    facts: machineFacts(),
    logs: observers.logs,
    shutdownGraceMs,
    offline: config.offline,
    leasing: deviceLeasing(config.devices),
    freeSpace: () => freeSpace(store, config.store, { address, namespace }),
  };
  const activities = createActivities({ ...deps, resolveEvaluation: foldersOf(loaded) }, ACTIVITY_FACTORIES);
  const { options } = await connectionSettings();
  const connection = await NativeConnection.connect({ ...options, address });
  const { cpu, gpu } = config.taskQueues;
  const version = workerVersion(config.worker);
  const common: Partial<WorkerOptions> = {
    connection,
    namespace,
    activities,
    maxHeartbeatThrottleInterval: HEARTBEAT_INTERVAL,
    defaultHeartbeatThrottleInterval: HEARTBEAT_INTERVAL,
    shutdownForceTime: graceMs,
    ...versionOptions(version),
  };
  const slots = { maxConcurrentActivityTaskExecutions: cpu.slots };
  const served: WorkerOptions[] = [{ ...common, ...slots, taskQueue: hostQueue(loaded.stateDir) }];
  if (queues.includes('cpu')) served.push({ ...common, ...slots, ...workflowCode(), taskQueue: cpu.name });
  if (queues.includes('gpu')) {
    served.push({ ...common, taskQueue: gpu.name, maxConcurrentActivityTaskExecutions: gpu.slots });
  }
  const workers = await Promise.all(served.map((options) => Worker.create(options)));
  process.on('disconnect', () => process.kill(process.pid, 'SIGTERM'));
  const running = Promise.all(workers.map((worker) => worker.run()));
  if (version !== null) await becomeCurrent({ address, namespace }, version, always);
  process.send?.({ type: 'ready' });
  try {
    await running;
  } finally {
    await engines.close();
    await observers.close();
    await connection.close().catch(() => undefined);
  }
}

/** Nights look at folders when they run, on this machine and with its settings. */
function foldersOf(loaded: LoadedConfig): ActivityDeps['resolveEvaluation'] {
  return ({ compute, ...request }) => {
    const threads = compute.threads ?? availableParallelism();
    return resolveEvaluation({ ...request, compute: { ...compute, threads } }, loaded);
  };
}

/** The first version of a deployment is current by itself, others when they are told to be. */
async function becomeCurrent(
  target: { readonly address: string; readonly namespace: string },
  version: WorkerVersion,
  always: boolean,
): Promise<void> {
  const { options } = await connectionSettings();
  const { client, connection } = await openClient(target, options);
  try {
    await makeCurrent(client, target.namespace, version, { always });
  } finally {
    await connection.close();
  }
}

/** The bundle that the build made; bundling from dist otherwise takes seconds. */
function workflowCode(): Partial<WorkerOptions> {
  const codePath = workflowBundleFile();
  if (existsSync(codePath)) return { workflowBundle: { codePath } };
  return { workflowsPath: compiledFile('workflows/index.js') };
}

const [address, namespace, queues = 'cpu,gpu', current = ''] = process.argv.slice(2);
if (address === undefined || namespace === undefined)
  throw new Error('usage: worker-process ADDRESS NAMESPACE [QUEUES [make-current]]');
main(address, namespace, queues.split(','), current === 'make-current').then(
  () => process.exit(0),
  (error: unknown) => {
    console.error(error);
    process.exit(1);
  },
);
