import { existsSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/** Whether the process still runs; a zombie that nobody reaped does not. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  const stat = `/proc/${pid}/stat`;
  if (!existsSync('/proc/self/stat')) return true;
  if (!existsSync(stat)) return false;
  const afterName = readFileSync(stat, 'utf8').split(') ').at(-1) ?? '';
  return !afterName.startsWith('Z');
}

/** Milliseconds until the process is gone; at most `limitMs`. */
export async function untilGone(pid: number, limitMs: number): Promise<number> {
  const start = performance.now();
  while (isAlive(pid) && performance.now() - start < limitMs) await sleep(10);
  return performance.now() - start;
}
