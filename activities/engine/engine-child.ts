import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stripVTControlCharacters } from 'node:util';
import { NibbleflowError } from '../../contracts/errors.js';
import { FrameReader } from './frame-reader.js';
import { oomKills } from './oom-kills.js';
import {
  CHANNEL_FD,
  type ChildSettings,
  type Frame,
  frameHead,
  type Reply,
  type ReplyOf,
  type Request,
} from './protocol.js';

/** How much of the child's standard error an error quotes. */
const STDERR_TAIL_BYTES = 4096;
/** The last words of a process that could not get memory. */
const OUT_OF_MEMORY = /JavaScript heap out of memory|std::bad_alloc|Cannot allocate memory|out of memory/i;

const SMALLER_BATCH = { fix: 'Free memory, or use a smaller batch; stages try that by themselves where they can.' };

interface Pending {
  resolve(frame: { ok: ReplyOf[keyof ReplyOf]; blobs: readonly Uint8Array[] }): void;
  reject(error: Error): void;
}

/** An engine child process and the requests it has not answered yet. The child answers in order. */
export class EngineChild {
  private readonly process: ChildProcess;
  private readonly stdin: Socket;
  private readonly stderr: Socket;
  private readonly channel: Socket;
  private readonly pending: Pending[] = [];
  private stderrTail = '';
  /** Kills for want of memory before this child started. */
  private readonly killsBefore = oomKills();
  /** Why the child is gone or about to go; later calls reject with it. */
  private ended: Error | undefined;
  private readonly exited: Promise<void>;

  constructor(settings: Omit<ChildSettings, 'scratch'>, signal?: AbortSignal) {
    const scratch = settings.device === 'cpu' ? null : mkdtempSync(join(tmpdir(), 'nibbleflow-engine-'));
    this.process = spawn(
      process.execPath,
      [...childScript(), JSON.stringify({ ...settings, scratch } satisfies ChildSettings)],
      {
        stdio: ['pipe', 'ignore', 'pipe', 'pipe'],
        windowsHide: true,
      },
    );
    this.stdin = this.process.stdin as Socket;
    this.stderr = this.process.stderr as Socket;
    this.channel = this.process.stdio[CHANNEL_FD] as Socket;
    this.exited = new Promise((resolve) => {
      this.process.on('close', (code, exitSignal) => {
        if (scratch !== null) rmSync(scratch, { recursive: true, force: true });
        this.end(this.exitError(code, exitSignal));
        resolve();
      });
    });
    this.process.on('error', (error) => this.end(startError(error)));
    // A dying child breaks its pipes; what happened is told by its exit.
    this.stdin.on('error', () => undefined);
    this.channel.on('error', () => undefined);
    const reader = new FrameReader<Reply>((frame) => this.settle(frame));
    this.channel.on('data', (chunk: Uint8Array) => reader.push(chunk));
    this.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.stderrTail = (this.stderrTail + text).slice(-STDERR_TAIL_BYTES);
    });
    this.watch(signal);
  }

  /** Process id; -1 when it could not be started. */
  get pid(): number {
    return this.process.pid ?? -1;
  }

  /** Sends a request and waits for its answer. */
  async call<Op extends Request['op']>(
    request: Extract<Request, { op: Op }>,
    blobs: readonly Uint8Array[] = [],
  ): Promise<{ ok: ReplyOf[Op]; blobs: readonly Uint8Array[] }> {
    if (this.ended !== undefined) throw this.ended;
    const answer = new Promise<{ ok: ReplyOf[keyof ReplyOf]; blobs: readonly Uint8Array[] }>((resolve, reject) => {
      this.pending.push({ resolve, reject });
    });
    this.holdParent(true);
    this.channel.cork();
    this.channel.write(frameHead(request, blobs));
    for (const blob of blobs) this.channel.write(blob);
    this.channel.uncork();
    return (await answer) as { ok: ReplyOf[Op]; blobs: readonly Uint8Array[] };
  }

  /** Lets the child finish what it was sent, release its sessions and exit. Safe to call twice and after a crash. */
  async close(): Promise<void> {
    if (this.ended === undefined) {
      const closing = this.call({ op: 'close' });
      this.ended = new NibbleflowError('Internal', 'the engine was closed');
      await closing.catch(() => undefined);
    }
    this.holdParent(true);
    this.stdin.end();
    await this.exited;
  }

  /** Kills the child; everything pending rejects with `reason`. */
  kill(reason: Error): void {
    this.end(reason);
    this.process.kill('SIGKILL');
  }

  private watch(signal: AbortSignal | undefined): void {
    if (signal === undefined) return;
    const onAbort = (): void => this.kill(abortError(signal));
    if (signal.aborted) onAbort();
    else {
      signal.addEventListener('abort', onAbort, { once: true });
      void this.exited.then(() => signal.removeEventListener('abort', onAbort));
    }
  }

  /** Whether this process stays alive for the child: only while it waits for an answer. An idle child goes with its parent. */
  private holdParent(hold: boolean): void {
    for (const handle of [this.process, this.stdin, this.stderr, this.channel]) {
      if (hold) handle.ref();
      else handle.unref();
    }
  }

  private settle({ header, blobs }: Frame<Reply>): void {
    const call = this.pending.shift();
    if (call === undefined) return;
    if (this.pending.length === 0) this.holdParent(false);
    if ('ok' in header) call.resolve({ ok: header.ok, blobs });
    else {
      const { kind, what, where, fix } = header.failure;
      call.reject(new NibbleflowError(kind, what, { where, fix }));
    }
  }

  private end(reason: Error): void {
    this.ended ??= reason;
    for (const call of this.pending.splice(0)) call.reject(reason);
  }

  private exitError(code: number | null, signal: NodeJS.Signals | null): NibbleflowError {
    const stderr = stripVTControlCharacters(this.stderrTail).trim();
    const said = stderr === '' ? '' : `; its last words:\n${stderr}`;
    if (signal !== 'SIGKILL' && OUT_OF_MEMORY.test(stderr)) {
      return new NibbleflowError('OutOfMemory', `the engine process could not get more memory${said}`, SMALLER_BATCH);
    }
    if (signal === 'SIGKILL' && (oomKills() ?? 0) > (this.killsBefore ?? 0)) {
      return new NibbleflowError(
        'OutOfMemory',
        `the system killed the engine process for want of memory${said}`,
        SMALLER_BATCH,
      );
    }
    if (signal === 'SIGKILL') {
      return new NibbleflowError(
        'EngineCrashed',
        `the engine process was killed (SIGKILL), and not by nibbleflow: perhaps the system ran out of memory${said}`,
        {
          fix: 'Look for the out-of-memory killer in the system log; a smaller batch needs less memory.',
        },
      );
    }
    return new NibbleflowError(
      'EngineCrashed',
      `the engine process ended unexpectedly (${signal ?? `exit code ${code}`})${said}`,
    );
  }
}

/**
 * The arguments that make node run child.ts: its compiled neighbour when this module is compiled, else the source through
 * jiti, so that tests and tools run from sources without a build.
 */
function childScript(): string[] {
  const here = fileURLToPath(import.meta.url);
  const folder = dirname(here);
  if (!here.endsWith('.ts')) return [join(folder, 'child.js')];
  const jiti = createRequire(here).resolve('jiti/package.json');
  return [join(dirname(jiti), 'lib', 'jiti-cli.mjs'), join(folder, 'child.ts')];
}

function startError(error: Error): NibbleflowError {
  return new NibbleflowError('EngineCrashed', `the engine process cannot be started: ${error.message}`, {
    cause: error,
  });
}

function abortError(signal: AbortSignal): Error {
  const error = new Error('the engine was aborted', { cause: signal.reason });
  error.name = 'AbortError';
  return error;
}
