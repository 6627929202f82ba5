import { type ChildProcess, fork } from 'node:child_process';
import { createInterface } from 'node:readline';
import { say } from '../console-output.js';
import { compiledFile } from '../package-root.js';

/** Task queues that a worker may serve. */
export const QUEUES = ['cpu', 'gpu'] as const;
export type Queue = (typeof QUEUES)[number];

/** How a worker's log reaches stderr: as it is written (JSON, a line an event), or made for people. */
export type LogFormat = 'text' | 'json';

export interface ForegroundOptions {
  readonly log: LogFormat;
  /** New runs start on this worker's version from now on. */
  readonly makeCurrent?: boolean;
}

const INFO = 30;
const LEVELS: Readonly<Record<number, string>> = { [INFO]: 'info', 40: 'warning', 50: 'error', 60: 'fatal' };

/**
 * Runs a worker until it is told to stop by SIGTERM or SIGINT, which it passes on: stages end at their next checkpoint within
 * the grace time. Resolves to the exit code of the worker's process. Connection and keys come from the environment that it
 * inherits, never from arguments, which every user of the machine can read.
 */
export function runForegroundWorker(
  target: { readonly address: string; readonly namespace: string },
  queues: readonly Queue[],
  { log, makeCurrent }: ForegroundOptions,
): Promise<number> {
  const child = fork(
    compiledFile('cli/server/worker-process.js'),
    [target.address, target.namespace, queues.join(','), ...(makeCurrent ? ['make-current'] : [])],
    // A group of its own: Ctrl-C reaches it once, from here.
    { detached: true, stdio: ['ignore', 'pipe', 'pipe', 'ipc'], execArgv: ['--enable-source-maps'] },
  );
  forwardLog(child, log);
  child.once('message', () => {
    const msg = `worker ready: ${queues.join(', ')} at ${target.address} (${target.namespace})`;
    say(formatted(JSON.stringify({ level: INFO, time: Date.now(), name: 'worker', msg }), log));
  });
  for (const name of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(name, () => child.kill('SIGTERM'));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => resolve(code ?? 1));
  });
}

function forwardLog(child: ChildProcess, format: LogFormat): void {
  for (const stream of [child.stdout, child.stderr]) {
    if (stream === null) continue;
    createInterface({ input: stream }).on('line', (line) => say(formatted(line, format)));
  }
}

function formatted(line: string, format: LogFormat): string {
  return format === 'json' ? line : logText(line);
}

/** `12:34:56 warning  what happened {"more":"fields"}`; lines that are no JSON stay as they are. */
export function logText(line: string): string {
  let entry: unknown;
  try {
    entry = JSON.parse(line);
  } catch {
    return line;
  }
  if (typeof entry !== 'object' || entry === null) return line;
  const { time, level, msg, pid, hostname, name, ...more } = entry as Record<string, unknown>;
  if (typeof time !== 'number' || typeof level !== 'number') return line;
  const clock = new Date(time).toISOString().slice(11, 19);
  const fields = Object.keys(more).length === 0 ? '' : ` ${JSON.stringify(more)}`;
  return `${clock} ${(LEVELS[level] ?? 'debug').padEnd(8)} ${String(msg ?? '')}${fields}`;
}
