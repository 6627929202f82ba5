import { readFileSync } from 'node:fs';

/** What a process and its engine have used so far (Linux). */
export interface Usage {
  /** Milliseconds of processor time of both. */
  readonly busy: number;
  /** Milliseconds of a clock on the wall. */
  readonly wall: number;
}

/** Milliseconds of a clock tick of /proc: 100 ticks a second on every Linux that Node runs on. */
const TICK_MS = 10;

export function usageWith(enginePid: number): Usage {
  const { user, system } = process.cpuUsage();
  const fields = readFileSync(`/proc/${enginePid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  const engine = (Number(fields[11]) + Number(fields[12])) * TICK_MS;
  return { busy: (user + system) / 1000 + engine, wall: performance.now() };
}

/** Largest resident memory of a process in bytes. */
export function peakBytes(pid: number | 'self'): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1] ?? Number.NaN) * 1024;
}
