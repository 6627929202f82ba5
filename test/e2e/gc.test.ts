import { readdir, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { RecipeInput } from '../../contracts/recipe.js';
import type { RunSummary } from '../../contracts/run-summary.js';
import { ObservedRun } from '../chaos/observed-run.js';
import { writeTinyPipeline } from '../fixtures/tiny-pipeline.js';
import { CliHome, digestsOf } from './cli-home.js';

const RECIPE: RecipeInput = {
  name: 'collected',
  sampling: { steps: 2 },
  weights: { granularity: 'channel' },
  activations: { ranges: 'timestep', groupSize: null },
  calibration: { trajectories: 4, timesteps: 2 },
  evaluation: { samples: 4, timestepPairs: 16, beforeFinetuning: false },
  reconstruction: { enabled: true, steps: 10, samples: 8, batchSize: 4, wave: 4 },
  finetuning: {
    batchSize: 4,
    validateEvery: 100,
    patience: 10,
    phases: [{ name: 'attention', layers: ['attention-projection'], steps: 400 }],
  },
};
const RUN_MS = 300_000;
const DAY_MS = 24 * 3600 * 1000;

interface Collected {
  readonly applied: boolean;
  readonly garbage: readonly { readonly kind: string; readonly count: number }[];
  readonly bytes: number;
}

let home: CliHome;
let first: RunSummary;

beforeAll(async () => {
  home = await CliHome.open(RECIPE);
  home.pipeline = join(home.folder, 'tiny');
  await writeTinyPipeline(home.pipeline);
  first = await home.quantize();
}, RUN_MS);
afterAll(() => home.close());

async function gc(...options: string[]): Promise<Collected> {
  const { code, stdout, stderr } = await home.run('gc', ...options, '--output', 'json');
  expect(code, stderr).toBe(0);
  return JSON.parse(stdout) as Collected;
}

/** Days pass for everything in the store. */
async function age(days: number): Promise<void> {
  const then = new Date(Date.now() - days * DAY_MS);
  const entries = await readdir(join(home.home, 'store'), { recursive: true, withFileTypes: true });
  // A run may delete its checkpoint meanwhile.
  for (const entry of entries) {
    if (entry.isFile()) await utimes(join(entry.parentPath, entry.name), then, then).catch(() => undefined);
  }
}

const objects = (): Promise<string[]> => readdir(join(home.home, 'store', 'objects'), { recursive: true });

describe('nibbleflow gc', () => {
  it('finds nothing to delete after a run, and says so', { timeout: RUN_MS }, async () => {
    const { code, stdout } = await home.run('gc', '--keep-days', '0', '--keep-runs', '0');
    expect(code).toBe(0);
    expect(stdout).toMatch(
      /store: kept are 0 days of results, the last 0 runs, running and pinned ones\nNothing to delete\.\n$/,
    );
  });

  it('leaves of old runs what makes the next one reuse every stage but the way there', {
    timeout: RUN_MS,
  }, async () => {
    await age(40);
    const shown = await gc();
    expect(shown.applied).toBe(false);
    expect(shown.garbage.map(({ kind }) => kind)).toContain('block-data');
    const before = await objects();
    expect(await gc('--apply')).toMatchObject({ applied: true, garbage: shown.garbage });
    expect((await objects()).length).toBeLessThan(before.length);
    const again = await home.quantize();
    expect(digestsOf(again)).toEqual(digestsOf(first));
    const made = again.stages.filter(({ state }) => state !== 'reused').map(({ id }) => id);
    // Block data is made again; what was learned from it is not.
    expect(made).toEqual(['reconstruct']);
  });

  it('deletes nothing of a pinned run, and all of it when it is unpinned', { timeout: RUN_MS }, async () => {
    expect((await home.run('gc', 'pin', first.workflowId)).stderr).toContain(`Pinned ${first.workflowId}`);
    await age(40);
    await gc('--apply', '--keep-runs', '0');
    const pins = await home.run('gc', 'pins', '--output', 'json');
    expect(JSON.parse(pins.stdout)).toMatchObject({ pins: [{ workflowId: first.workflowId }] });
    for (const { digest } of Object.values(first.artifacts))
      expect(await objects()).toContain(`${digest.slice(0, 2)}/${digest}`);
    expect((await home.run('gc', 'unpin', first.workflowId)).code).toBe(0);
    await age(40);
    await gc('--apply', '--keep-runs', '0');
    expect((await objects()).filter((name) => name.includes('/'))).toEqual([]);
  });

  it('does no harm to a run that is under way, which ends as undisturbed', { timeout: RUN_MS }, async () => {
    await age(40);
    await gc('--apply', '--keep-runs', '0');
    const run = new ObservedRun(home);
    await run.inMid('finetune', 20);
    await age(40);
    const { garbage } = await gc('--apply', '--keep-days', '0', '--keep-runs', '0');
    expect(garbage.map(({ kind }) => kind)).not.toContain('graph');
    expect(digestsOf(await run.result())).toEqual(digestsOf(first));
  });

  it('deletes nothing when it cannot ask the server', { timeout: RUN_MS }, async () => {
    await age(40);
    const before = await objects();
    home.env.TEMPORAL_ADDRESS = '127.0.0.1:1';
    const { code, stderr } = await home.run('gc', '--apply', '--keep-runs', '0');
    delete home.env.TEMPORAL_ADDRESS;
    expect(code).toBe(3);
    expect(stderr).toContain('ServerUnavailable');
    expect(await objects()).toEqual(before);
  });
});
