import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { DeviceLeases, listLeases } from '../../activities/device-leases.js';
import { EnginePool } from '../../activities/engine-pool.js';
import { leaseName } from '../../activities/leased-engine.js';
import { type ActivityDeps, runStage, type StageContext } from '../../activities/stage-frame.js';
import { LocalStore } from '../../activities/store/local-store.js';
import type { StageOutcome } from '../../contracts/stages.js';
import { FAILURE_POLICIES } from '../../workflows/policies.js';

const owner = { run: 'quantize-x', stage: 'sample', attempt: 1 };
const never = new AbortController().signal;

let base: string;
let folder: string;
let log: string;
const children: ChildProcess[] = [];
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'nibbleflow-leases-'));
  folder = join(base, 'leases');
  log = join(base, 'log');
});
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  rmSync(base, { recursive: true, force: true });
});

/** A process that takes leases; see lease-holder.ts. */
function holder(count: number): ChildProcess {
  const require = createRequire(import.meta.url);
  const jiti = join(dirname(require.resolve('jiti/package.json')), 'lib', 'jiti-cli.mjs');
  const script = join(import.meta.dirname, 'lease-holder.ts');
  const child = spawn(process.execPath, [jiti, script, folder, log, String(count)], { stdio: 'inherit' });
  children.push(child);
  return child;
}

async function linesOfLog(count: number): Promise<string[]> {
  for (;;) {
    const lines = existsSync(log) ? readFileSync(log, 'utf8').split('\n').filter(Boolean) : [];
    if (lines.length >= count) return lines;
    await sleep(20);
  }
}

const take = (leases: DeviceLeases, signal = never, onWait: (holder: object) => void = () => undefined) =>
  leases.acquire('gpu0', owner, { signal, onWait });

/** Makes the lease that is held look like one of another machine, renewed `ageMs` ago. */
function asElsewhere(ageMs: number): void {
  const [name = ''] = readdirSync(folder).filter((file) => file.endsWith('.json'));
  const path = join(folder, name);
  writeFileSync(path, readFileSync(path, 'utf8').replace(/"host":"[^"]*"/, '"host":"another-machine"'));
  const at = new Date(Date.now() - ageMs);
  utimesSync(path, at, at);
}

describe('the lease of a device', () => {
  it('is held by one of several processes at a time, each with a higher token than all before it', async () => {
    const [processes, times] = [3, 30];
    const ends = Array.from({ length: processes }, () => once(holder(times), 'exit'));
    expect((await Promise.all(ends)).map(([code]) => code)).toEqual(Array.from({ length: processes }, () => 0));
    const lines = await linesOfLog(2 * processes * times);
    const tokens: number[] = [];
    for (let i = 0; i < lines.length; i += 2) {
      const [held = '', freed = ''] = lines.slice(i, i + 2);
      expect(freed).toBe(held.replace('held', 'free'));
      tokens.push(Number(held.split(' ')[1]));
    }
    expect(tokens).toEqual([...new Set(tokens)].sort((a, b) => a - b));
    expect(tokens).toHaveLength(processes * times);
    expect(new Set(lines.map((line) => line.split(' ')[2])).size).toBe(processes);
    expect(listLeases(folder)).toEqual([]);
  });

  it('is taken over from a process that was killed, and kept from nobody by one that lives', async () => {
    const child = holder(0);
    await linesOfLog(1);
    const waits: object[] = [];
    const waiting = take(new DeviceLeases(folder, 5), never, (who) => waits.push(who));
    while (waits.length < 3) await sleep(5);
    expect(waits[0]).toMatchObject({ run: 'r', stage: 'sample', pid: child.pid });
    const [held] = listLeases(folder);
    expect(held).toMatchObject({ device: 'gpu0', alive: true, zombie: false, run: 'r', token: 1 });
    child.kill('SIGKILL');
    const lease = await waiting;
    expect(lease.token).toBe(2);
    lease.assertHeld();
    lease.release();
    expect(listLeases(folder)).toEqual([]);
  });

  it('is not free while the engine of a dead worker still runs, which is listed as a zombie', async () => {
    const child = holder(0);
    await linesOfLog(1);
    const lease = JSON.parse(readFileSync(join(folder, 'gpu0.1.json'), 'utf8')) as { worker: { pid: number } };
    const engine = spawn('sleep', ['600']);
    children.push(engine);
    const { processRef } = await import('../../activities/process-ref.js');
    writeFileSync(join(folder, 'gpu0.1.json'), JSON.stringify({ ...lease, engine: processRef(engine.pid ?? 0) }));
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect(listLeases(folder)).toMatchObject([{ alive: false, zombie: true, owner: { engine: engine.pid } }]);
    const waits: object[] = [];
    const waiting = take(new DeviceLeases(folder, 5), never, (who) => waits.push(who));
    while (waits.length < 3) await sleep(5);
    engine.kill('SIGKILL');
    expect((await waiting).token).toBe(2);
  });

  it('leaves nothing behind when the wait for it is given up', async () => {
    const lease = await take(new DeviceLeases(folder));
    const abort = new AbortController();
    const waiting = take(new DeviceLeases(folder, 5), abort.signal);
    abort.abort(new Error('cancelled'));
    await expect(waiting).rejects.toThrow('cancelled');
    lease.assertHeld();
    lease.release();
    expect(listLeases(folder)).toEqual([]);
  });

  it('of another machine is over when it was not renewed for a minute, and its holder can neither write nor free it', async () => {
    const first = await take(new DeviceLeases(folder));
    asElsewhere(30_000);
    const abort = new AbortController();
    const early = take(new DeviceLeases(folder, 5), abort.signal);
    await sleep(50);
    abort.abort(new Error('still held'));
    await expect(early).rejects.toThrow('still held');
    asElsewhere(120_000);
    const second = await take(new DeviceLeases(folder, 5));
    expect(second.token).toBeGreaterThan(first.token);
    expect(() => first.assertHeld()).toThrow(expect.objectContaining({ kind: 'LeaseLost' }) as Error);
    first.release();
    second.assertHeld();
  });

  it('is given back also where nothing can be written any more, and its token is not given out again', async () => {
    const lease = await take(new DeviceLeases(folder, 5));
    const [name = ''] = readdirSync(folder);
    // A folder where the temporary file would be, as good as a disk that is full.
    mkdirSync(join(folder, `${name}.${process.pid}.tmp`));
    lease.release();
    expect(listLeases(folder)).toEqual([]);
    const next = await take(new DeviceLeases(folder, 5));
    expect(next.token).toBe(lease.token + 1);
    next.release();
  });

  it('is refused in a folder of somebody else', async () => {
    mkdirSync(base, { recursive: true });
    writeFileSync(folder, 'a file');
    await expect(take(new DeviceLeases(folder))).rejects.toMatchObject({ kind: 'OutputNotWritable' });
  });

  it('has one name for the graphics card, whoever computes on it', () => {
    expect(leaseName('webgpu', {})).toBe('gpu0');
    expect(leaseName('cuda', {})).toBe('gpu0');
    expect(leaseName('cuda', { CUDA_VISIBLE_DEVICES: '3,1' })).toBe('gpu3');
    expect(leaseName('cuda', { CUDA_VISIBLE_DEVICES: 'GPU-5f/../x' })).toBe('gpuGPU-5fx');
  });
});

describe('a stage on a leased device', () => {
  /** Two of these are two workers of one machine. */
  async function workerOf(name: string) {
    const abort = new AbortController();
    const notes: string[] = [];
    const engines = new EnginePool();
    const store = await LocalStore.open(join(base, name));
    const deps: ActivityDeps = {
      ...{ store, engines, policies: FAILURE_POLICIES, facts: {} },
      leasing: { devices: ['cpu'], leases: new DeviceLeases(folder, 5) },
      host: () => ({
        run: name,
        signal: abort.signal,
        heartbeat: (details) => notes.push((details as { note: string }).note),
      }),
    };
    const stage = (body: (context: StageContext) => Promise<{ summary: string }>): Promise<StageOutcome> =>
      runStage(deps, { stage: 'round', version: 1, input: z.strictObject({}) }, {}, (_, context) => body(context));
    return { abort, notes, engines, store, stage };
  }
  const compute = { device: 'cpu', threads: 1 } as const;

  it('waits for the stage of another worker, says for whom, and may be cancelled while it waits', async () => {
    const [first, second] = [await workerOf('one'), await workerOf('two')];
    let finish: () => void = () => undefined;
    const held = new Promise<void>((resolve) => {
      finish = resolve;
    });
    const running = first.stage((context) =>
      context.withEngine(compute, async () => {
        await held;
        return { summary: 'first' };
      }),
    );
    while (listLeases(folder)[0]?.owner.engine == null) await sleep(20);
    const cancelled = second.stage((context) => context.withEngine(compute, async () => ({ summary: 'never' })));
    await sleep(100);
    second.abort.abort(new Error('cancelled'));
    await expect(cancelled).rejects.toThrow('cancelled');
    expect(second.notes).toContain(`waits for cpu, held by round of one (process ${process.pid})`);
    const third = await workerOf('three');
    const waiting = third.stage(async (context) => {
      const summary = context.withEngine(compute, async () => 'second');
      await sleep(100);
      context.progress({ done: 0, total: 1, unit: 'steps' });
      return { summary: await summary };
    });
    await sleep(50);
    finish();
    expect(await running).toMatchObject({ summary: 'first' });
    expect(await waiting).toMatchObject({ summary: 'second' });
    expect(listLeases(folder)).toEqual([]);
    await Promise.all([first, second, third].map(({ engines }) => engines.close()));
  });

  it('that lost its lease writes no checkpoint and no result, and is tried again', async () => {
    const worker = await workerOf('zombie');
    const failure = await worker
      .stage((context) =>
        context.withEngine(compute, async () => {
          await context.checkpoint.save(Uint8Array.of(1));
          const [name = ''] = readdirSync(folder).filter((file) => file.endsWith('.json'));
          const file = readFileSync(join(folder, name), 'utf8');
          writeFileSync(join(folder, 'cpu.99.json'), file.replace(/"token":\d+/, '"token":99'));
          await context.checkpoint.save(Uint8Array.of(2)).catch((error: unknown) => {
            expect(error).toMatchObject({ kind: 'LeaseLost' });
          });
          return { summary: 'made on a device that was somebody else’s' };
        }),
      )
      .catch((error: unknown) => error);
    expect(failure).toMatchObject({ type: 'LeaseLost', nonRetryable: false });
    rmSync(join(folder, 'cpu.99.json'));
    const seen: (number | undefined)[] = [];
    await worker.stage(async (context) => {
      seen.push((await context.checkpoint.load())?.[0]);
      return { summary: '' };
    });
    expect(seen).toEqual([1]);
    await worker.engines.close();
  });
});
