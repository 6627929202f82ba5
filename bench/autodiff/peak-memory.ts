import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/**
 * Largest resident memory of a fresh process that runs one variant of the training step (Linux; `VmHWM`), with what was
 * resident before the model was read. The child is `step-process.js`.
 */
export interface PeakMemory {
  readonly baseBytes: number;
  readonly peakBytes: number;
}

export function residentBytes(field: 'VmRSS' | 'VmHWM'): number {
  const status = readFileSync('/proc/self/status', 'utf8');
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1] ?? Number.NaN) * 1024;
}

/** Runs `step-process.js variant batch threads`, and returns what it printed beside its memory. */
export function inFreshProcess<Found>(variant: string, batch: number, threads: number): PeakMemory & Found {
  const script = fileURLToPath(new URL('step-process.js', import.meta.url));
  const child = spawnSync(process.execPath, [script, variant, String(batch), String(threads)], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
    maxBuffer: 1 << 28,
  });
  if (child.status !== 0) throw new Error(`${variant}: the process ended with ${child.status ?? child.signal}`);
  return JSON.parse(child.stdout) as PeakMemory & Found;
}
