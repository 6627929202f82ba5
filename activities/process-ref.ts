import { readFileSync } from 'node:fs';

/** A process that we started, recognizable after its number was given to another one. */
export interface ProcessRef {
  readonly pid: number;
  /** When it started, in the system's own words; null where the system does not tell. */
  readonly startedAt: string | null;
}

/** Describes a running process. */
export function processRef(pid: number): ProcessRef {
  return { pid, startedAt: startTime(pid) };
}

/** True while this very process runs (zombies do not). */
export function isRunning(ref: ProcessRef | null | undefined): boolean {
  if (!ref) return false;
  try {
    process.kill(ref.pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
  const now = startTime(ref.pid);
  if (process.platform === 'linux' && now === null) return false;
  return ref.startedAt === null || now === null || now === ref.startedAt;
}

/** Field 22 of /proc/<pid>/stat: clock ticks from boot to start; null for zombies and on other systems. */
function startTime(pid: number): string | null {
  if (process.platform !== 'linux') return null;
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' || fields[0] === 'X' ? null : (fields[19] ?? null);
  } catch {
    return null;
  }
}
