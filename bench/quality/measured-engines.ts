import { readFileSync, writeFileSync } from 'node:fs';
import type { EngineExecutor } from '../../activities/engine/engine-executor.js';
import { EnginePool } from '../../activities/engine-pool.js';
import type { Compute } from '../../contracts/stages.js';

/** Engines whose largest resident size is noted whenever a stage gives one back. */
export class MeasuredEngines extends EnginePool {
  /** Of the largest engine so far; null where the system does not tell. */
  peakBytes: number | null = null;

  override use<T>(compute: Compute, signal: AbortSignal, work: (executor: EngineExecutor) => Promise<T>): Promise<T> {
    return super.use(compute, signal, async (executor) => {
      try {
        return await work(executor);
      } finally {
        const bytes = largestResidentBytes(executor.pid);
        if (bytes !== null) this.peakBytes = Math.max(bytes, this.peakBytes ?? 0);
      }
    });
  }
}

/** The largest resident size of a process so far; null where the system does not tell (other than Linux). */
export function largestResidentBytes(pid: number): number | null {
  try {
    const kilobytes = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    return kilobytes === undefined ? null : Number(kilobytes) * 1024;
  } catch {
    return null;
  }
}

/** Lets this process's largest resident size start again from what it is now, where the system can do that (Linux). */
export function forgetLargestResident(): void {
  try {
    writeFileSync('/proc/self/clear_refs', '5');
  } catch {
    // Elsewhere the largest size of the whole run counts: never too little.
  }
}
