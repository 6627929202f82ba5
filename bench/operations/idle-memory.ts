import { setTimeout as sleep } from 'node:timers/promises';
import { withServer } from '../../cli/command-context.js';
import { prepareRun } from '../../cli/prepare-run.js';
import { submitRun } from '../../cli/submit-run.js';
import { pssBytes } from '../memory/pss.js';
import type { OperationsSettings } from './fresh-home.js';

/** A warm engine is closed after a minute without work. */
const UNTIL_IDLE_MS = 75_000;
const SHORT = ['finetuning.enabled=false', 'sampling.steps=2', 'evaluation.samples=2', 'calibration.trajectories=2'];

/** Proportional set size of server, worker and supervisor after a run, when the engine has been closed. */
export async function idleLines({ pipeline }: OperationsSettings, home: string): Promise<string[]> {
  return withServer(async ({ client, services, loaded }) => {
    const memory = () =>
      Object.entries({ server: services.server, worker: services.worker, supervisor: services.supervisor }).map(
        ([name, ref]) => ({ name, bytes: ref === null ? 0 : pssBytes(ref.pid) }),
      );
    const fresh = memory();
    const settings = [...SHORT, 'calibration.timesteps=2'];
    const request = { folder: pipeline, recipe: 'w8a8', settings, out: `${home}/out`, threads: '1' };
    const { handle } = await submitRun(client, services, await prepareRun(request, loaded, process.cwd()), loaded);
    await handle.result();
    await sleep(UNTIL_IDLE_MS);
    return [`just started: ${memoryText(fresh)}`, `idle after a run: ${memoryText(memory())}`];
  });
}

function memoryText(rows: readonly { readonly name: string; readonly bytes: number }[]): string {
  const total = rows.reduce((sum, { bytes }) => sum + bytes, 0);
  const parts = rows.map(({ name, bytes }) => `${name} ${(bytes / 2 ** 20).toFixed(0)}`);
  return `${(total / 2 ** 20).toFixed(0)} MiB (${parts.join(', ')})`;
}
