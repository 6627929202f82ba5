import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { NibbleflowError } from '../../contracts/errors.js';
import { SEARCH_ATTRIBUTES } from '../../contracts/run-summary.js';
import { openClient } from './connection.js';
import { LOOPBACK } from './ports.js';

/** A cold first start was measured at 2.4 s; a loaded machine gets much more. */
const START_TIMEOUT_MS = 60_000;
/** Otherwise the server tells its maker's host about itself at every start and once a day. */
const NO_VERSION_CHECK = { TEMPORAL_VERSION_CHECK_DISABLED: '1' };

export interface DevServerOptions {
  readonly binary: string;
  readonly port: number;
  readonly uiPort: number;
  readonly namespace: string;
  readonly databaseFile: string;
  readonly logFile: string;
  readonly retentionDays: number;
  /** Called at once, so that a starter that is killed while waiting leaves a trace of the process. */
  readonly onSpawn?: (pid: number) => void;
}

export interface DevServer {
  readonly child: ChildProcess;
  readonly address: string;
  readonly uiUrl: string;
}

/**
 * Starts the dev server in a process group of its own and waits until it answers: loopback only, state in one SQLite file
 * with a write-ahead log (13 times faster than the server's defaults, and a killed process loses nothing), our search
 * attributes, our retention. Throws ServerUnavailable with the end of its log.
 */
export async function startDevServer(options: DevServerOptions): Promise<DevServer> {
  mkdirSync(dirname(options.databaseFile), { recursive: true });
  const log = openSync(options.logFile, 'a');
  const child = spawn(options.binary, serverArguments(options), {
    detached: true,
    stdio: ['ignore', log, log],
    env: { ...process.env, ...NO_VERSION_CHECK },
  });
  closeSync(log);
  if (child.pid !== undefined) options.onSpawn?.(child.pid);
  const failed = new Promise<never>((_, reject) => {
    child.once('error', (error) => reject(startFailure(options, error.message)));
    child.once('exit', (code, signal) => reject(startFailure(options, `it ended with ${signal ?? code}`)));
  });
  failed.catch(() => undefined);
  const address = `${LOOPBACK}:${options.port}`;
  try {
    await Promise.race([failed, waitUntilHealthy(options, address)]);
  } catch (error) {
    child.kill('SIGKILL');
    throw error;
  }
  return { child, address, uiUrl: `http://${LOOPBACK}:${options.uiPort}` };
}

function serverArguments(options: DevServerOptions): string[] {
  const attributes = Object.entries(SEARCH_ATTRIBUTES);
  return [
    ...['server', 'start-dev', '--ip', LOOPBACK, '--ui-ip', LOOPBACK],
    ...['--port', String(options.port), '--ui-port', String(options.uiPort)],
    ...['--namespace', options.namespace, '--db-filename', options.databaseFile],
    ...['--sqlite-pragma', 'journal_mode=WAL', '--sqlite-pragma', 'synchronous=NORMAL'],
    ...['--log-level', 'error'],
    ...attributes.flatMap(([name, type]) => ['--search-attribute', `${name}=${type}`]),
  ];
}

/** Answers, has the namespace, and keeps histories for as long as configured. */
async function waitUntilHealthy(options: DevServerOptions, address: string): Promise<void> {
  const { namespace, retentionDays } = options;
  const deadline = Date.now() + START_TIMEOUT_MS;
  for (;;) {
    try {
      const { client, connection } = await openClient({ address, namespace }, {}, 1_000);
      try {
        await client.workflowService.updateNamespace({
          namespace,
          config: { workflowExecutionRetentionTtl: { seconds: retentionDays * 24 * 3600 } as never },
        });
        return;
      } finally {
        await connection.close();
      }
    } catch (error) {
      if (Date.now() > deadline) throw startFailure(options, `it does not answer: ${String(error)}`);
      await sleep(100);
    }
  }
}

function startFailure(options: DevServerOptions, what: string): NibbleflowError {
  return new NibbleflowError('ServerUnavailable', `the Temporal dev server did not start: ${what}`, {
    where: options.binary,
    fix: `The end of ${options.logFile}:\n${lastLines(options.logFile, 8)}`,
  });
}

function lastLines(file: string, count: number): string {
  try {
    return readFileSync(file, 'utf8').trimEnd().split('\n').slice(-count).join('\n');
  } catch {
    return '(no log)';
  }
}
