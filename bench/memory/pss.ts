import { readFileSync } from 'node:fs';

/** Proportional set size of a process in bytes (shared pages count once over all that share them); 0 when it has ended. Linux. */
export function pssBytes(pid: number): number {
  try {
    const line = /^Pss:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'));
    return Number(line?.[1] ?? 0) * 1024;
  } catch {
    return 0;
  }
}
