import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { NibbleflowError } from '../../contracts/errors.js';
import type { LoadedConfig } from '../load-config.js';
import { compiledFile } from '../package-root.js';
import { connectionSettings, openClient } from './connection.js';
import { findServer } from './find-server.js';
import { isRunning, type ProcessRef, processRef } from './processes.js';
import { refuseBrokenRuns } from './refuse-broken-runs.js';
import { buildId, RunFolder, recordName, type ServiceRecord } from './service-record.js';
import { stopServices } from './stop-services.js';

/** Server and worker come up in seconds; a loaded machine gets a minute each. */
const READY_TIMEOUT_MS = 150_000;
const LOCK_TIMEOUT_MS = 180_000;

/**
 * Server and worker for the current connection, started in the background when they do not run yet. Throws
 * ServerUnavailable.
 */
export async function ensureServices(loaded: LoadedConfig, announce: (line: string) => void): Promise<ServiceRecord> {
  const runFolder = new RunFolder(loaded.stateDir);
  runFolder.prepare();
  const settings = await connectionSettings();
  const configured = settings.address === null ? null : { address: settings.address, namespace: settings.namespace };
  if (configured !== null) await (await openClient(configured, settings.options)).connection.close();
  const name = recordName(configured);
  const running = await runningServices(runFolder, name);
  if (running !== undefined && running.build === buildId(loaded)) return running;
  const binary = configured === null ? (await findServer({ announce, offline: loaded.config.offline })).path : null;
  return withLock(runFolder, async () => {
    const found = await runningServices(runFolder, name);
    if (found !== undefined && found.build === buildId(loaded)) return found;
    if (found !== undefined) await refuseBrokenRuns(loaded, found);
    if (found !== undefined) announce('Restarting the worker: it runs another build or other settings of nibbleflow.');
    await stopServices(runFolder, name);
    announce(configured === null ? 'Starting the Temporal dev server and a worker…' : 'Starting a worker…');
    return startSupervisor(loaded, runFolder, name, binary);
  });
}

/** The record of live services; waits while they are starting. */
export async function runningServices(runFolder: RunFolder, name: string): Promise<ServiceRecord | undefined> {
  const deadline = Date.now() + READY_TIMEOUT_MS;
  for (;;) {
    const record = runFolder.read(name);
    if (record === undefined || !isRunning(record.supervisor) || record.state === 'failed') return undefined;
    if (record.state === 'ready') return record;
    if (Date.now() > deadline) return undefined;
    await sleep(100);
  }
}

async function startSupervisor(
  loaded: LoadedConfig,
  runFolder: RunFolder,
  name: string,
  binary: string | null,
): Promise<ServiceRecord> {
  const log = openSync(runFolder.log('supervisor'), 'a');
  const child = spawn(process.execPath, [compiledFile('cli/server/supervisor-process.js'), name, binary ?? '-'], {
    cwd: loaded.file === null ? process.cwd() : join(loaded.file, '..'),
    env: { ...process.env, NIBBLEFLOW_HOME: loaded.stateDir },
    detached: true,
    stdio: ['ignore', log, log],
  });
  closeSync(log);
  const deadline = Date.now() + READY_TIMEOUT_MS;
  while (Date.now() < deadline) {
    const record = runFolder.read(name);
    if (record?.supervisor.pid === child.pid && record?.state === 'ready') {
      child.unref();
      return record;
    }
    if (child.exitCode !== null || child.signalCode !== null) throw startFailure(runFolder, name);
    await sleep(50);
  }
  await stopServices(runFolder, name);
  throw new NibbleflowError('ServerUnavailable', 'server and worker are not ready after two minutes', {
    where: runFolder.log('supervisor'),
  });
}

function startFailure(runFolder: RunFolder, name: string): NibbleflowError {
  const failure = runFolder.read(name)?.failure ?? null;
  runFolder.remove(name);
  if (failure !== null) return new NibbleflowError(failure.kind, failure.message);
  return new NibbleflowError('ServerUnavailable', 'server and worker did not start', {
    where: runFolder.log('supervisor'),
  });
}

/** One process at a time starts services; the lock of a process that died is broken. */
async function withLock<T>(runFolder: RunFolder, action: () => Promise<T>): Promise<T> {
  const file = join(runFolder.folder, 'starting.lock');
  const deadline = Date.now() + LOCK_TIMEOUT_MS;
  while (!tryLock(file)) {
    if (!isRunning(lockHolder(file)) || Date.now() > deadline) rmSync(file, { force: true });
    await sleep(100);
  }
  try {
    return await action();
  } finally {
    rmSync(file, { force: true });
  }
}

function tryLock(file: string): boolean {
  try {
    writeFileSync(file, JSON.stringify(processRef(process.pid)), { flag: 'wx' });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

/** A lock that cannot be read is being written: its holder counts as this process. */
function lockHolder(file: string): ProcessRef {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as ProcessRef;
  } catch {
    return processRef(process.pid);
  }
}
