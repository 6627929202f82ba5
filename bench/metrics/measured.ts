import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** What scoring took in a fresh process: milliseconds, bytes, and the scores. */
export interface Measured {
  readonly busy: number;
  readonly wall: number;
  readonly peakBytes: number;
  /** Of the engine's process, beside it. */
  readonly enginePeakBytes: number;
  readonly values: Readonly<Record<string, number | null>>;
}

export interface Work {
  readonly folder: string;
  readonly samples: number;
  readonly threads: number;
  readonly where: 'memory' | 'stream';
}

/** Runs `metric-process.js`. */
export function measured({ folder, samples, threads, where }: Work, metrics: readonly string[]): Measured {
  const script = fileURLToPath(new URL('metric-process.js', import.meta.url));
  const argv = [script, folder, String(samples), String(threads), where, metrics.join(',')];
  const child = spawnSync(process.execPath, argv, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
  if (child.status !== 0) throw new Error(`scoring ended with ${child.status ?? child.signal}`);
  return JSON.parse(child.stdout) as Measured;
}
