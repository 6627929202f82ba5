import { mkdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** A memory control group of a test's own: the system kills its processes when together they want more. */
export interface MemoryGroup {
  readonly join: (pid: number) => void;
  /** Waits until no process is left in it, and deletes it. */
  readonly remove: () => Promise<void>;
}

/** Version 1 and version 2 of control groups. */
const VERSIONS = [
  { folder: '/sys/fs/cgroup/memory', limit: 'memory.limit_in_bytes' },
  { folder: '/sys/fs/cgroup', limit: 'memory.max' },
] as const;

/** undefined where this process may not make one. */
export function memoryGroup(bytes: number): MemoryGroup | undefined {
  for (const { folder, limit } of VERSIONS) {
    const group = join(folder, `nibbleflow-test-${process.pid}-${bytes}`);
    try {
      mkdirSync(group);
      writeFileSync(join(group, limit), String(bytes));
      if (Number(readFileSync(join(group, limit), 'utf8')) > 2 * bytes) throw new Error('no limit');
      const processes = join(group, 'cgroup.procs');
      return { join: (pid) => writeFileSync(processes, String(pid)), remove: () => removeEmpty(group, processes) };
    } catch {
      rmSync(group, { recursive: true, force: true });
    }
  }
  return undefined;
}

async function removeEmpty(group: string, processes: string): Promise<void> {
  while (readFileSync(processes, 'utf8') !== '') await sleep(20);
  rmdirSync(group);
}
