import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { isRunning, type ProcessRef } from '../../cli/server/processes.js';
import type { RecipeInput } from '../../contracts/recipe.js';
import { CliHome, digestsOf } from '../e2e/cli-home.js';
import { ObservedRun, type SavedCheckpoint } from './observed-run.js';

/** Finetuning of several checkpoint intervals, so that it has a middle; everything else is as small as it gets. */
const RECIPE: RecipeInput = {
  name: 'chaos',
  sampling: { steps: 3 },
  calibration: { trajectories: 4, timesteps: 3 },
  evaluation: { samples: 2, timestepPairs: 16, beforeFinetuning: false },
  finetuning: {
    batchSize: 4,
    validateEvery: 15,
    patience: 10,
    phases: [
      { name: 'time', layers: ['time-embedding'], steps: 15 },
      { name: 'attention', layers: ['attention-projection'], steps: 45 },
    ],
  },
};

/** The promise: no more work than this is done twice. */
const REPEATED_WORK_MS = 10_000;
/** Steps between the last checkpoint and the kill: there is work to lose. */
const STEPS_AT_RISK = 2;
/** A minute of work and a heartbeat timeout, on a machine that is busy with other tests. */
const RUN_MS = 360_000;

let undisturbed: Record<string, string>;
let home: CliHome;

beforeAll(async () => {
  const calm = await CliHome.open(RECIPE);
  try {
    undisturbed = digestsOf(await calm.quantize());
  } finally {
    await calm.close();
  }
}, RUN_MS);
afterEach(() => home.close());

interface Disturbance {
  readonly run: ObservedRun;
  /** What the last checkpoint before the kill held. */
  readonly saved: SavedCheckpoint;
  readonly killedAt: number;
}

/** Starts from an empty store and kills a process in the middle of finetuning. */
async function killInMidFinetuning(victim: () => ProcessRef | null | undefined): Promise<Disturbance> {
  home = await CliHome.open(RECIPE);
  const run = new ObservedRun(home);
  await run.inMidFinetuning(STEPS_AT_RISK);
  const ref = victim();
  if (!ref || !isRunning(ref)) throw new Error('there is nothing to kill');
  process.kill(ref.pid, 'SIGKILL');
  const killedAt = Date.now();
  const saved = await run.checkpoint();
  if (saved === undefined) throw new Error('the checkpoint is gone');
  return { run, saved, killedAt };
}

/** The next attempt went on exactly where the last checkpoint was, and that was not long ago. */
async function expectContinued({ run, saved, killedAt }: Disturbance): Promise<void> {
  expect(digestsOf(await run.result())).toEqual(undisturbed);
  expect(saved.done).toBeGreaterThan(0);
  expect(killedAt - saved.savedAt).toBeLessThanOrEqual(REPEATED_WORK_MS);
  const resumed = new Set(run.finetuning.map(({ resumedAt }) => resumedAt));
  expect([...resumed]).toEqual([null, saved.done]);
}

describe('kill -9 in the middle of finetuning', () => {
  it('of the worker: another one goes on from the last checkpoint, to the same digests', {
    timeout: RUN_MS,
  }, async () => {
    await expectContinued(await killInMidFinetuning(() => home.record().worker));
  });

  it('of the engine child: the stage goes on with a fresh one, to the same digests', { timeout: RUN_MS }, async () => {
    const worker = (): ProcessRef | null => home.record().worker;
    const before: { worker: ProcessRef | null } = { worker: null };
    const disturbance = await killInMidFinetuning(() => {
      before.worker = worker();
      return home.engines()[0];
    });
    await expectContinued(disturbance);
    expect(worker()).toEqual(before.worker);
  });

  it('of the server: the stage does not notice, the same digests', { timeout: RUN_MS }, async () => {
    const { run } = await killInMidFinetuning(() => home.record().server);
    expect(digestsOf(await run.result())).toEqual(undisturbed);
    expect(new Set(run.finetuning.map(({ resumedAt }) => resumedAt))).toEqual(new Set([null]));
  });
});

describe('cancel in the middle of finetuning', () => {
  it('ends the run and its engine, leaves no output, and says so to who watches', { timeout: RUN_MS }, async () => {
    home = await CliHome.open(RECIPE);
    const run = new ObservedRun(home);
    await run.inMidFinetuning(STEPS_AT_RISK);
    expect(home.engines()).toHaveLength(1);
    const running = await home.run('runs', '--output', 'json');
    const [{ workflowId }] = (JSON.parse(running.stdout) as { runs: [{ workflowId: string }] }).runs;
    expect((await home.run('cancel', workflowId)).code).toBe(0);
    const { code, said } = await run.end();
    expect(code).toBe(130);
    expect(said).toContain('The run was cancelled. Finished stages are kept');
    await expect.poll(() => home.engines(), { timeout: 10_000 }).toEqual([]);
    expect(await home.leftovers()).toEqual([]);
  });
});
