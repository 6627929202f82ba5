import { readSync, writeSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { env } from 'onnxruntime-node';
import { EngineServer } from './engine-server.js';
import {
  CHANNEL_FD,
  type ChildSettings,
  type Frame,
  frameHead,
  parseHead,
  type Reply,
  type Request,
} from './protocol.js';

/**
 * The engine child: reads requests from its channel one after the other, runs them, answers. Everything onnxruntime does
 * blocks this process, so it reads and writes synchronously too; being killed is how it is cancelled.
 */

/**
 * Kills this process, also in the middle of a blocking run, as soon as its standard input ends: when the parent closes it or
 * dies, however it dies. JavaScript in a string, because a worker cannot load TypeScript when the child runs from source.
 */
const PARENT_WATCHER = `
  const { Socket } = require('node:net');
  const stdin = new Socket({ fd: 0, readable: true, writable: false });
  const die = () => process.kill(process.pid, 'SIGKILL');
  stdin.on('end', die).on('error', die).resume();
`;

async function serve(settings: ChildSettings): Promise<void> {
  new Worker(PARENT_WATCHER, { eval: true });
  // The parent decides when an engine ends: Ctrl-C and a service manager's stop reach the whole process group.
  process.on('SIGINT', () => undefined).on('SIGTERM', () => undefined);
  env.logLevel = settings.logLevel;
  const server = new EngineServer(settings);
  for (;;) {
    const { header: request, blobs } = readFrame();
    const { reply, blobs: replyBlobs } = await server.handle(request, blobs);
    writeFrame(reply, replyBlobs);
    if (request.op === 'close') process.exit(0);
  }
}

function readFrame(): Frame<Request> {
  const size = Buffer.from(readExactly(4)).readUInt32LE(0);
  const { header, blobs } = parseHead<Request>(readExactly(size));
  return { header, blobs: blobs.map(readExactly) };
}

function writeFrame(reply: Reply, blobs: readonly Uint8Array[]): void {
  writeFully(frameHead(reply, blobs));
  for (const blob of blobs) writeFully(blob);
}

function readExactly(size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  let offset = 0;
  while (offset < size) {
    const count = retrying(() => readSync(CHANNEL_FD, bytes, offset, size - offset, null));
    if (count === 0) process.exit(0);
    offset += count;
  }
  return bytes;
}

function writeFully(bytes: Uint8Array): void {
  let offset = 0;
  while (offset < bytes.byteLength) {
    offset += retrying(() => writeSync(CHANNEL_FD, bytes, offset, bytes.byteLength - offset));
  }
}

const RETRY_MS = 1;
const sleeper = new Int32Array(new SharedArrayBuffer(4));

/** Repeats a system call on a stream that turns out to be non-blocking (the parent chooses) and not ready. */
function retrying(call: () => number): number {
  for (;;) {
    try {
      return call();
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      if (code === 'EOF') return 0;
      if (code !== 'EAGAIN' && code !== 'EINTR') throw error;
      Atomics.wait(sleeper, 0, 0, RETRY_MS);
    }
  }
}

try {
  await serve(JSON.parse(process.argv[2] ?? '') as ChildSettings);
} catch (error) {
  console.error(error);
  process.exit(1);
}
