import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { EnginePool } from '../../activities/engine-pool.js';
import { isRunning, processRef } from '../../cli/server/processes.js';
import type { Compute } from '../../contracts/stages.js';

const compute: Compute = { device: 'cpu', threads: 1 };
const never = new AbortController().signal;
let pool = new EnginePool();
afterEach(() => pool.close());

async function gone(pid: number): Promise<boolean> {
  const ref = processRef(pid);
  for (let tries = 0; tries < 100 && isRunning(ref); tries += 1) await sleep(50);
  return !isRunning(ref);
}

describe('the engine pool', () => {
  it('lends a warm engine again, and two at the same time are two', async () => {
    pool = new EnginePool();
    const first = await pool.use(compute, never, async (engine) => engine.pid);
    const second = await pool.use(compute, never, (outer) =>
      pool.use(compute, never, async (inner) => [outer.pid, inner.pid]),
    );
    expect(second[0]).toBe(first);
    expect(second[1]).not.toBe(first);
  });

  it('kills the engine of a stage that is cancelled', async () => {
    pool = new EnginePool();
    const abort = new AbortController();
    let pid = 0;
    const using = pool.use(compute, abort.signal, async (engine) => {
      pid = engine.pid;
      abort.abort(new Error('cancelled'));
      await sleep(60_000, undefined, { signal: abort.signal });
    });
    await expect(using).rejects.toThrow();
    expect(await gone(pid)).toBe(true);
  });

  it('does not lend the engine of a stage that failed again', async () => {
    pool = new EnginePool();
    let failedPid = 0;
    const failing = pool.use(compute, never, async (engine) => {
      failedPid = engine.pid;
      throw new Error('stage failed');
    });
    await expect(failing).rejects.toThrow('stage failed');
    expect(await gone(failedPid)).toBe(true);
    expect(await pool.use(compute, never, async (engine) => engine.pid)).not.toBe(failedPid);
  });

  it('replaces an engine that was killed while it was idle', async () => {
    pool = new EnginePool();
    const killed = await pool.use(compute, never, async (engine) => engine.pid);
    process.kill(killed, 'SIGKILL');
    expect(await gone(killed)).toBe(true);
    expect(await pool.use(compute, never, async (engine) => engine.pid)).not.toBe(killed);
  });

  it('ends idle engines after a while, and all of them when it is closed', async () => {
    pool = new EnginePool(100);
    expect(await gone(await pool.use(compute, never, async (engine) => engine.pid))).toBe(true);
    const warm = await pool.use(compute, never, async (engine) => engine.pid);
    await pool.close();
    expect(await gone(warm)).toBe(true);
    await expect(pool.use(compute, never, async () => undefined)).rejects.toMatchObject({ kind: 'EngineCrashed' });
  });
});
