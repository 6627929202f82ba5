import { type ChildProcess, fork } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { NibbleflowError } from '../../contracts/errors.js';
import type { LoadedConfig } from '../load-config.js';
import { compiledFile } from '../package-root.js';
import { countActiveNights } from './active-nights.js';
import { attachedClients } from './clients.js';
import { connectionSettings, openClient } from './connection.js';
import { hostQueue } from './host-queue.js';
import { choosePorts } from './ports.js';
import { isRunning, type ProcessRef, processRef, terminate } from './processes.js';
import { countRunning } from './running-workflows.js';
import { ensureSearchAttributes } from './search-attributes.js';
import { buildId, RunFolder, recordName, type ServiceRecord } from './service-record.js';
import { startDevServer } from './start-server.js';

const WORKER_START_TIMEOUT_MS = 60_000;
/** A worker's process is given this much longer than the grace time that it keeps itself. */
const WORKER_RESERVE_SECONDS = 5;
const SERVER_GRACE_MS = 10_000;
const RESTART_DELAY_MS = 500;
/** A process that ends this often within a minute is not restarted again. */
const MAX_RESTARTS_PER_MINUTE = 6;

export interface SupervisorOptions {
  readonly loaded: LoadedConfig;
  /** The server's binary; null: a server is configured, start none. */
  readonly binary: string | null;
  /** false: stays until it is told to stop (`nibbleflow up`). */
  readonly stopWhenIdle: boolean;
}

/**
 * Keeps the server (unless a configured one is used) and the worker running: starts them, restarts what dies, stops both
 * when idle or told to. There is one per connection and state folder; its record tells other commands where things are.
 */
export class Supervisor {
  private readonly runFolder: RunFolder;
  private name = 'local';
  private server: ProcessRef | null = null;
  private worker: ProcessRef | null = null;
  private target = { address: '', namespace: 'default' };
  private uiUrl: string | null = null;
  private ports = { port: 0, uiPort: 0 };
  private stopping = false;
  private readonly restarts: number[] = [];
  private readonly build: string;
  private finish: (error?: unknown) => void = () => undefined;
  /** Settles when this is to end: idle or told to; rejects when beyond repair. */
  private readonly finished = new Promise<void>((resolve, reject) => {
    this.finish = (error) => (error === undefined ? resolve() : reject(error));
  });

  constructor(private readonly options: SupervisorOptions) {
    this.runFolder = new RunFolder(options.loaded.stateDir);
    this.build = buildId(options.loaded);
  }

  /**
   * Starts everything; resolves when it is ready, to null when it was told to stop before. Throws ServerUnavailable. Unless
   * it is ready nothing is left running.
   */
  async start(): Promise<ServiceRecord | null> {
    this.runFolder.prepare();
    for (const name of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(name, () => this.finish());
    const settings = await connectionSettings();
    const configured = settings.address === null ? null : { address: settings.address, namespace: settings.namespace };
    this.name = recordName(configured);
    this.target = configured ?? { address: '', namespace: settings.namespace };
    this.record('starting');
    try {
      const isUp = await Promise.race([
        this.bringUp(configured === null, settings.options).then(() => true),
        this.finished.then(() => false),
      ]);
      if (isUp) return this.record('ready');
    } catch (error) {
      await this.stop();
      throw error;
    }
    await this.stop();
    return null;
  }

  /** Resolves when everything has stopped: idle, told to, or beyond repair (then it rejects). */
  async untilStopped(): Promise<void> {
    if (this.options.stopWhenIdle) void this.stopWhenIdle();
    try {
      await this.finished;
    } finally {
      await this.stop();
    }
  }

  private async stop(): Promise<void> {
    this.stopping = true;
    await terminate(this.worker, workerGraceMs(this.options.loaded));
    await terminate(this.server, SERVER_GRACE_MS);
    this.runFolder.remove(this.name);
  }

  private async bringUp(ownServer: boolean, options: Readonly<Record<string, unknown>>): Promise<void> {
    if (ownServer) await this.startServer(await choosePorts(this.options.loaded.config.devServer));
    else await this.useConfigured(options);
    await this.startWorker();
  }

  private async startServer(ports: { port: number; uiPort: number }): Promise<void> {
    const { binary, loaded } = this.options;
    if (binary === null) throw new NibbleflowError('Internal', 'no server binary was given');
    if (this.stopping) return;
    this.ports = ports;
    const { child, address, uiUrl } = await startDevServer({
      binary,
      ...ports,
      namespace: this.target.namespace,
      databaseFile: join(loaded.stateDir, 'temporal.db'),
      logFile: this.runFolder.log('server'),
      retentionDays: loaded.config.devServer.retentionDays,
      onSpawn: (pid) => {
        this.server = processRef(pid);
        this.record('starting');
      },
    });
    this.target = { ...this.target, address };
    this.uiUrl = uiUrl;
    child.once('exit', () => void this.restart('server', () => this.startServer(this.ports)));
  }

  private async useConfigured(options: Readonly<Record<string, unknown>>): Promise<void> {
    const open = await openClient(this.target, options);
    try {
      await ensureSearchAttributes(open, this.target.namespace);
    } finally {
      await open.connection.close();
    }
  }

  private async startWorker(): Promise<void> {
    if (this.stopping) return;
    const log = openSync(this.runFolder.log('worker'), 'a');
    const child = fork(compiledFile('cli/server/worker-process.js'), [this.target.address, this.target.namespace], {
      detached: true,
      stdio: ['ignore', log, log, 'ipc'],
      execArgv: ['--enable-source-maps'],
    });
    closeSync(log);
    if (child.pid !== undefined) this.worker = processRef(child.pid);
    this.record('starting');
    try {
      await this.untilReady(child);
    } catch (error) {
      child.kill('SIGKILL');
      throw error;
    }
    child.once('exit', () => void this.restart('worker', () => this.startWorker()));
  }

  private async untilReady(child: ChildProcess): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const failure = (what: string): NibbleflowError =>
      new NibbleflowError('Internal', `the worker did not start: ${what}`, {
        fix: `See ${this.runFolder.log('worker')}`,
      });
    try {
      await new Promise<void>((resolve, reject) => {
        child.once('message', () => resolve());
        child.once('error', (error) => reject(failure(error.message)));
        child.once('exit', (code, signal) => reject(failure(`it ended with ${signal ?? code}`)));
        timer = setTimeout(() => reject(failure('it is not ready after a minute')), WORKER_START_TIMEOUT_MS);
      });
    } finally {
      clearTimeout(timer);
    }
  }

  private async restart(what: string, start: () => Promise<void>): Promise<void> {
    while (!this.stopping) {
      const now = Date.now();
      while ((this.restarts[0] ?? now) < now - 60_000) this.restarts.shift();
      this.restarts.push(now);
      if (this.restarts.length > MAX_RESTARTS_PER_MINUTE) {
        this.finish(
          new NibbleflowError('Internal', `the ${what} ends again and again`, { where: this.runFolder.folder }),
        );
        return;
      }
      await sleep(RESTART_DELAY_MS);
      if (this.stopping) return;
      try {
        await start();
        this.record('ready');
        return;
      } catch (error) {
        console.error(`restart of the ${what} failed:`, error);
      }
    }
  }

  private async stopWhenIdle(): Promise<void> {
    const idleMs = this.options.loaded.config.devServer.idleMinutes * 60_000;
    let busyAt = Date.now();
    while (!this.stopping) {
      await sleep(Math.min(15_000, idleMs / 4), undefined, { ref: false });
      const busy = attachedClients(this.runFolder).length > 0 || (await this.hasRunning());
      if (busy) busyAt = Date.now();
      else if (Date.now() - busyAt >= idleMs) return this.finish();
    }
  }

  /**
   * Runs, or nights to come: a server that stopped would miss them. One that does not answer counts as busy: it is being
   * restarted, or an administrator's matter.
   */
  private async hasRunning(): Promise<boolean> {
    try {
      const { options } = await connectionSettings();
      const open = await openClient(this.target, options);
      const { config, stateDir } = this.options.loaded;
      return await countRunning(open.client, config.taskQueues.cpu.name)
        .then(async (count) => count > 0 || (await countActiveNights(open.client, hostQueue(stateDir))) > 0)
        .finally(() => open.connection.close());
    } catch {
      return true;
    }
  }

  private record(state: ServiceRecord['state']): ServiceRecord {
    const record: ServiceRecord = {
      version: 1,
      state,
      supervisor: processRef(process.pid),
      server: isRunning(this.server) ? this.server : null,
      worker: isRunning(this.worker) ? this.worker : null,
      address: this.target.address,
      namespace: this.target.namespace,
      uiUrl: this.uiUrl,
      build: this.build,
      graceSeconds: this.options.loaded.config.worker.graceSeconds,
      failure: null,
    };
    this.runFolder.write(this.name, record);
    return record;
  }
}

/** A worker that is stopped ends within its grace time; it is killed a little later. */
function workerGraceMs({ config }: LoadedConfig): number {
  return 1000 * (config.worker.graceSeconds + WORKER_RESERVE_SECONDS);
}
