import { createHash } from 'node:crypto';
import { appendFileSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { pino, stdTimeFunctions } from 'pino';
import { redactSecrets } from './redact-secrets.js';

/**
 * What happened in a run, on this machine: JSON lines in `logs/runs/` of the state folder, one file per workflow id. Every
 * line has `time` (ISO 8601), `level` (info, warn, error), `host`, `pid`, `run` (workflow id), `runId`, `stage`, `activityId`,
 * `attempt`, `event` (see RunEvent), `msg` for people, and the event's own facts.
 */

/** Kinds of lines; programs read this, people read `msg`. */
export type RunEvent =
  | 'stage-started'
  | 'stage-reused'
  | 'stage-finished'
  | 'stage-failed'
  | 'stage-stopped'
  | 'checkpoint-resumed'
  | 'checkpoint-written'
  | 'micro-batch-halved'
  | 'engine-started'
  | 'engine-tested'
  | 'engine-ended'
  | 'lease-waiting'
  | 'lease-taken'
  | 'lease-released'
  | 'warning';

/** Whose lines these are. */
export interface RunLogOwner {
  /** Workflow id. */
  readonly run: string;
  readonly runId: string;
  readonly stage: string;
  readonly activityId: string;
  readonly attempt: number;
}

export type RunFacts = Readonly<Record<string, unknown>>;

/** The log of one stage of one run. Writing never fails a stage: a full disk loses lines, not work. */
export interface RunLog {
  info(event: RunEvent, message: string, facts?: RunFacts): void;
  warn(event: RunEvent, message: string, facts?: RunFacts): void;
  error(event: RunEvent, message: string, facts?: RunFacts): void;
}

/** A log that keeps nothing. */
export const SILENT_LOG: RunLog = { info: () => undefined, warn: () => undefined, error: () => undefined };

/** A file that is longer is renamed to `….1.jsonl` (one such file is kept): at most twice this for a run. */
const MAX_FILE_BYTES = 8 * 1024 * 1024;
/** Logs of runs that nobody wrote to for this long are deleted when a worker starts. */
const KEPT_MS = 90 * 24 * 3600 * 1000;

/** The folder of run logs in a state folder. */
export function runLogFolder(stateDir: string): string {
  return join(stateDir, 'logs', 'runs');
}

/** File name of a run's log: the workflow id where it can be one, otherwise a readable part of it and a hash. */
export function runLogName(run: string): string {
  const safe = run.replace(/[^A-Za-z0-9._-]/g, '_').slice(0, 120);
  const isItself = safe === run && !/^\.|\.\d+$/.test(run);
  return `${isItself ? safe : `${safe.replace(/^\.+/, '')}-${createHash('sha256').update(run).digest('hex').slice(0, 8)}`}.jsonl`;
}

/** Files of a run's log that exist, the older one first. */
export function runLogFiles(stateDir: string, run: string): string[] {
  const file = join(runLogFolder(stateDir), runLogName(run));
  return [rotated(file), file].filter((path) => existsSync(path));
}

export interface RunLogsOptions {
  readonly maxBytes?: number;
  /** See everything that is logged: metrics count it, traces are made of it. */
  readonly observers?: readonly ((owner: RunLogOwner, event: RunEvent, facts: RunFacts) => void)[];
}

/** Writes the logs of all runs that a worker works for. */
export class RunLogs {
  private readonly maxBytes: number;

  constructor(
    private readonly folder: string,
    private readonly options: RunLogsOptions = {},
  ) {
    this.maxBytes = options.maxBytes ?? MAX_FILE_BYTES;
  }

  /** The log of one attempt of a stage. */
  open({ run, ...owner }: RunLogOwner): RunLog {
    const file = join(this.folder, runLogName(run));
    const logger = pino(
      {
        base: { host: hostname(), pid: process.pid, run, ...owner },
        timestamp: stdTimeFunctions.isoTime,
        formatters: { level: (label) => ({ level: label }) },
      },
      { write: (line: string) => this.append(file, redactSecrets(line)) },
    );
    const writer =
      (level: 'info' | 'warn' | 'error'): RunLog['info'] =>
      (event, message, facts = {}) => {
        logger[level]({ event, ...facts }, message);
        for (const observe of this.options.observers ?? []) observe({ run, ...owner }, event, facts);
      };
    return { info: writer('info'), warn: writer('warn'), error: writer('error') };
  }

  /** Deletes the logs that were not written to for 90 days before `now` (ms). */
  removeOld(now: number): void {
    if (!existsSync(this.folder)) return;
    for (const name of readdirSync(this.folder)) {
      const path = join(this.folder, name);
      if (statSync(path).mtimeMs < now - KEPT_MS) rmSync(path, { force: true });
    }
  }

  /** One system call a line: lines of workers that share the file do not mix. */
  private append(file: string, line: string): void {
    try {
      mkdirSync(this.folder, { recursive: true });
      if (sizeOf(file) + line.length > this.maxBytes) renameSync(file, rotated(file));
      appendFileSync(file, line);
    } catch {
      return;
    }
  }
}

function sizeOf(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.size ?? 0;
}

function rotated(file: string): string {
  return file.replace(/\.jsonl$/, '.1.jsonl');
}
