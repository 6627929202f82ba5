import { type ChildProcess, spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { EngineExecutor } from '../../../activities/engine/engine-executor.js';
import { float32 } from '../../../models/tensors/tensor.js';
import { incrementMany, matMulChain } from './models.js';
import { isAlive, untilGone } from './process-alive.js';

/** What the design promises: a killed engine, or the engine of a killed parent, is gone by then. */
const GONE_WITHIN_MS = 1000;
/** Long enough for a run that was sent to be under way. */
const UNDER_WAY_MS = 500;

const SIZE = 1024;
/** Minutes of work on one thread: no test waits for its end. */
const ENDLESS_PRODUCTS = 2000;

async function startEndlessRun(signal?: AbortSignal): Promise<{ engine: EngineExecutor; running: Promise<unknown> }> {
  const engine = await EngineExecutor.start({ device: 'cpu', threads: 1, signal });
  const session = await engine.open(matMulChain(SIZE, ENDLESS_PRODUCTS));
  const running = session.run({ x: float32([SIZE, SIZE], new Float32Array(SIZE * SIZE)) });
  running.catch(() => undefined);
  await sleep(UNDER_WAY_MS);
  return { engine, running };
}

/** Runs parent-process.ts and reads the engine's process id from it. */
async function startParent(
  mode: 'busy' | 'idle',
): Promise<{ parent: ChildProcess; enginePid: number; output: () => string }> {
  const jiti = join(dirname(createRequire(import.meta.url).resolve('jiti/package.json')), 'lib', 'jiti-cli.mjs');
  const script = join(import.meta.dirname, 'parent-process.ts');
  const parent = spawn(process.execPath, [jiti, script, mode], { stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  const firstLine = new Promise<string>((resolve, reject) => {
    parent.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
      if (output.includes('\n')) resolve(output.split('\n')[0] ?? '');
    });
    parent.on('exit', (code) => reject(new Error(`the parent exited with ${code}`)));
  });
  return { parent, enginePid: Number(await firstLine), output: () => output };
}

test('an abort in the middle of a run kills the engine at once and rejects with an AbortError', async () => {
  const controller = new AbortController();
  const { engine, running } = await startEndlessRun(controller.signal);
  expect(isAlive(engine.pid)).toBe(true);
  const reason = new Error('cancelled by the user');
  controller.abort(reason);
  await expect(running).rejects.toMatchObject({ name: 'AbortError', cause: reason });
  expect(await untilGone(engine.pid, GONE_WITHIN_MS)).toBeLessThan(GONE_WITHIN_MS);
  await expect(engine.upload(float32([1], [1]))).rejects.toMatchObject({ name: 'AbortError' });
  await engine.close();
});

test('a start with an aborted signal rejects with an AbortError', async () => {
  const started = EngineExecutor.start({ device: 'cpu', threads: 1, signal: AbortSignal.abort() });
  await expect(started).rejects.toMatchObject({ name: 'AbortError' });
});

test('an engine that somebody else kills rejects its calls, suspecting a lack of memory', async () => {
  const { engine, running } = await startEndlessRun();
  process.kill(engine.pid, 'SIGKILL');
  await expect(running).rejects.toMatchObject({
    kind: 'EngineCrashed',
    message: expect.stringContaining('out of memory'),
  });
  await expect(engine.open(matMulChain(2, 1))).rejects.toMatchObject({ kind: 'EngineCrashed' });
  await engine.close();
});

test('an engine that cannot start says why in its own words', async () => {
  const flags = process.env.NODE_OPTIONS;
  process.env.NODE_OPTIONS = '--require=./no-such-file.cjs';
  const started = EngineExecutor.start({ device: 'cpu', threads: 1 });
  if (flags === undefined) delete process.env.NODE_OPTIONS;
  else process.env.NODE_OPTIONS = flags;
  await expect(started).rejects.toMatchObject({
    kind: 'EngineCrashed',
    message: expect.stringMatching(/exit code 1.*its last words.*no-such-file/s),
  });
});

test('an engine that crashes rejects its calls and names the signal', async () => {
  const { engine, running } = await startEndlessRun();
  process.kill(engine.pid, 'SIGABRT');
  await expect(running).rejects.toMatchObject({ kind: 'EngineCrashed', message: expect.stringContaining('SIGABRT') });
});

test('Ctrl-C and a service stop, which reach the whole process group, leave the engine to its parent', async () => {
  const engine = await EngineExecutor.start({ device: 'cpu', threads: 1 });
  process.kill(engine.pid, 'SIGINT');
  process.kill(engine.pid, 'SIGTERM');
  const session = await engine.open(incrementMany(1, [1]));
  expect((await session.run({ x0: float32([1], [2]) })).y0?.data).toEqual(Float32Array.of(3));
  await engine.close();
});

test('the engine of a parent that is killed in the middle of a run is gone within a second', async () => {
  const { parent, enginePid, output } = await startParent('busy');
  await sleep(UNDER_WAY_MS);
  expect(isAlive(enginePid)).toBe(true);
  parent.kill('SIGKILL');
  expect(await untilGone(enginePid, GONE_WITHIN_MS)).toBeLessThan(GONE_WITHIN_MS);
  expect(output()).not.toContain('the run ended');
});

test('a parent that forgets its idle engine can exit, and the engine goes with it', async () => {
  const { parent, enginePid } = await startParent('idle');
  const code = parent.exitCode ?? (await new Promise((resolve) => parent.on('exit', resolve)));
  expect(code).toBe(0);
  expect(await untilGone(enginePid, GONE_WITHIN_MS)).toBeLessThan(GONE_WITHIN_MS);
});

test('close waits for the runs before it and leaves no process behind', async () => {
  const engine = await EngineExecutor.start({ device: 'cpu', threads: 1 });
  const session = await engine.open(matMulChain(64, 2));
  const running = session.run({ x: float32([64, 64], new Float32Array(64 * 64).fill(1)) });
  await engine.close();
  expect((await running).y?.data[0]).toBe(64 * 64);
  expect(isAlive(engine.pid)).toBe(false);
  await engine.close();
  await expect(session.run({})).rejects.toMatchObject({ kind: 'InvalidInput' });
  await expect(engine.upload(float32([1], [1]))).rejects.toThrow('the engine was closed');
});
