import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { EngineExecutor } from '../../../activities/engine/engine-executor.js';
import { oomKills } from '../../../activities/engine/oom-kills.js';
import { processRef, terminate } from '../../../cli/server/processes.js';
import { float32 } from '../../../models/tensors/tensor.js';
import { memoryGroup } from './memory-group.js';

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

function systemOf(files: Readonly<Record<string, string>>): string {
  const root = mkdtempSync(join(tmpdir(), 'nibbleflow-system-'));
  folders.push(root);
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(join(root, path, '..'), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  return root;
}

describe('kills for want of memory', () => {
  it('are counted in both versions of control groups and on the machine', () => {
    const vmstat = { 'proc/vmstat': 'nr_free_pages 1\noom_kill 2\n' };
    expect(oomKills(systemOf({}))).toBeNull();
    expect(oomKills(systemOf(vmstat))).toBe(2);
    const second = { 'proc/self/cgroup': '0::/a/b\n', 'sys/fs/cgroup/a/b/memory.events': 'oom 9\noom_kill 3\n' };
    expect(oomKills(systemOf({ ...vmstat, ...second }))).toBe(5);
    const first = {
      'proc/self/cgroup': '4:memory:/x\n0::/\n',
      'sys/fs/cgroup/memory/x/memory.oom_control': 'oom_kill_disable 0\nunder_oom 0\noom_kill 4\n',
    };
    expect(oomKills(systemOf(first))).toBe(4);
  });
});

const LIMIT = 400 * 2 ** 20;

describe('an engine that is killed', () => {
  it('by the system for want of memory says OutOfMemory', async ({ skip }) => {
    const group = memoryGroup(LIMIT);
    if (group === undefined) return skip('this process may not make a memory control group');
    const engine = await EngineExecutor.start({ device: 'cpu', threads: 1 });
    const ref = processRef(engine.pid);
    try {
      group.join(engine.pid);
      const half = float32([LIMIT / 8], new Float32Array(LIMIT / 8).fill(1));
      const filling = (async () => {
        for (let i = 0; i < 8; i += 1) await engine.upload(half);
      })();
      await expect(filling).rejects.toMatchObject({ kind: 'OutOfMemory' });
    } finally {
      await terminate(ref, 0);
      await group.remove();
    }
  });

  it('by somebody says EngineCrashed', async () => {
    const engine = await EngineExecutor.start({ device: 'cpu', threads: 1 });
    process.kill(engine.pid, 'SIGKILL');
    await expect(engine.free([])).rejects.toMatchObject({ kind: 'EngineCrashed' });
  });
});
