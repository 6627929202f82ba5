import { readFileSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { listLeases } from '../../activities/device-leases.js';
import { runLogFiles } from '../../activities/run-log.js';
import type { RunSummary } from '../../contracts/run-summary.js';
import { CliHome } from '../e2e/cli-home.js';

/** Two workers of two state folders on one machine, whose device is leased; as small as runs get. */
const RECIPE = {
  name: 'leased',
  sampling: { steps: 4 },
  calibration: { trajectories: 8, timesteps: 2 },
  evaluation: { samples: 2, timestepPairs: 16, beforeFinetuning: false },
  finetuning: { enabled: false },
};

let leaseDir: string;
const homes: CliHome[] = [];
beforeEach(async () => {
  leaseDir = await mkdtemp(join(tmpdir(), 'nibbleflow-leased-'));
});
afterEach(async () => {
  await Promise.all(homes.splice(0).map((home) => home.close()));
  await rm(leaseDir, { recursive: true, force: true });
});

async function openHome(): Promise<CliHome> {
  const home = await CliHome.open(RECIPE);
  homes.push(home);
  const file = join(home.folder, 'temporal.config.ts');
  const devices = JSON.stringify({ leased: ['cpu'], leaseDir });
  await writeFile(file, (await readFile(file, 'utf8')).replace('{', `{ devices: ${devices},`));
  return home;
}

interface Held {
  readonly from: number;
  readonly to: number;
  readonly token: number;
}

/** When a run's worker had the device; a lease that its holder did not live to release ends with the next one. */
function heldBy(home: CliHome, { workflowId }: RunSummary): { held: Held[]; waited: boolean } {
  const lines = runLogFiles(home.home, workflowId).flatMap((path) =>
    readFileSync(path, 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { event: string; time: string; token: number }),
  );
  const released = new Map(
    lines.flatMap(({ event, token, time }) => (event === 'lease-released' ? [[token, time]] : [])),
  );
  const held = lines
    .filter(({ event }) => event === 'lease-taken')
    .map(({ token, time }) => ({ token, from: Date.parse(time), to: Date.parse(released.get(token) ?? time) }));
  return { held, waited: lines.some(({ event }) => event === 'lease-waiting') };
}

it('two workers share a device one stage at a time; the lease of one that was killed goes to the other; none is left', async () => {
  const [first, second] = await Promise.all([openHome(), openHome()]);
  const runs = Promise.all([first.quantize(), second.quantize()]);
  // Kills the worker that has the device, once its engine computes.
  for (;;) {
    const [lease] = listLeases(leaseDir);
    if (lease !== undefined && lease.owner.engine !== null) {
      process.kill(lease.owner.pid, 'SIGKILL');
      break;
    }
    await sleep(20);
  }
  const summaries = await runs;
  const found = [heldBy(first, summaries[0]), heldBy(second, summaries[1])];
  expect(found.some(({ waited }) => waited)).toBe(true);
  const all = found.flatMap(({ held }) => held).sort((a, b) => a.token - b.token);
  expect(new Set(all.map(({ token }) => token)).size).toBe(all.length);
  for (const [index, { to }] of all.entries()) {
    const next = all[index + 1];
    if (next !== undefined) expect(next.from).toBeGreaterThanOrEqual(to);
  }
  expect(summaries[0].artifacts['convert.pipeline']).toEqual(summaries[1].artifacts['convert.pipeline']);
  expect(listLeases(leaseDir)).toEqual([]);
});
