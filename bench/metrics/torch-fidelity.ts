import { spawnSync } from 'node:child_process';

const SCRIPT = 'bench/torch/fidelity_metrics.py';

/** Milliseconds of processor and of wall time of each part, as torch-fidelity computes it. */
export interface FidelityRun {
  readonly version: string;
  readonly peakBytes: number;
  readonly parts: Readonly<Record<string, { readonly busy: number; readonly wall: number }>>;
  readonly values: Readonly<Record<string, number>>;
}

/** torch-fidelity on the same arrays and threads, in a fresh process; null when this Python has none (it says so on stderr). */
export function torchFidelity(python: string, folder: string, threads: number): FidelityRun | null {
  const limit = String(threads);
  const child = spawnSync(python, [SCRIPT, folder, limit], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, OMP_NUM_THREADS: limit, OPENBLAS_NUM_THREADS: limit, MKL_NUM_THREADS: limit },
  });
  if (child.status !== 0) return null;
  return JSON.parse(child.stdout) as FidelityRun;
}
