import { setTimeout as sleep } from 'node:timers/promises';
import { isRunning, type ProcessRef, processRef } from '../../activities/process-ref.js';

export { isRunning, type ProcessRef, processRef };

/** Asks a process to end, and kills it after `graceMs`. Returns when it is gone. */
export async function terminate(ref: ProcessRef | null | undefined, graceMs: number): Promise<void> {
  if (!ref || !isRunning(ref)) return;
  signal(ref.pid, 'SIGTERM');
  const deadline = Date.now() + graceMs;
  while (isRunning(ref) && Date.now() < deadline) await sleep(50);
  if (!isRunning(ref)) return;
  signal(ref.pid, 'SIGKILL');
  while (isRunning(ref) && Date.now() < deadline + 5_000) await sleep(50);
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    return;
  }
}
