import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { runLogFiles } from '../../activities/run-log.js';
import { isRunning, type ProcessRef } from '../../cli/server/processes.js';
import type { RecipeInput } from '../../contracts/recipe.js';
import type { Progress, Stage } from '../../contracts/stages.js';
import { CliHome, digestsOf } from '../e2e/cli-home.js';
import { ObservedRun } from './observed-run.js';

/** Sampling is one batch of many steps, finetuning has a middle; everything else is as small as it gets. */
const RECIPE: RecipeInput = {
  name: 'preempted',
  sampling: { steps: 48 },
  calibration: { trajectories: 8, timesteps: 3 },
  evaluation: { samples: 2, timestepPairs: 16, beforeFinetuning: false },
  finetuning: {
    batchSize: 4,
    validateEvery: 20,
    patience: 10,
    phases: [{ name: 'attention', layers: ['attention-projection'], steps: 40 }],
  },
};

/** The default of worker.graceSeconds: a worker that is told to end is gone within this. */
const GRACE_MS = 30_000;

let undisturbed: Record<string, string>;
let home: CliHome;

beforeAll(async () => {
  const calm = await CliHome.open(RECIPE);
  try {
    undisturbed = digestsOf(await calm.quantize());
  } finally {
    await calm.close();
  }
});
afterEach(() => home.close());

interface LogLine {
  readonly time: string;
  readonly event: string;
  readonly stage: string;
  readonly attempt: number;
  readonly done?: number;
  readonly why?: string;
}

function logOf(run: string): LogLine[] {
  return runLogFiles(home.home, run).flatMap((file) =>
    readFileSync(file, 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as LogLine),
  );
}

async function goneBy(ref: ProcessRef, deadline: number): Promise<boolean> {
  while (isRunning(ref) && Date.now() < deadline) await sleep(50);
  return !isRunning(ref);
}

/** Tells the worker to end in the middle of a stage; checks that it does, with its engines, and that nothing is lost. */
async function stopInMid(stage: Stage, done: number): Promise<void> {
  home = await CliHome.open(RECIPE);
  const run = new ObservedRun(home);
  const before = await run.inMid(stage, done);
  const { worker } = home.record();
  const engines = home.engines();
  if (!worker || engines.length === 0) throw new Error('there is nothing to stop');
  process.kill(worker.pid, 'SIGTERM');
  const stoppedAt = Date.now();
  expect(await goneBy(worker, stoppedAt + GRACE_MS)).toBe(true);
  for (const engine of engines) expect(await goneBy(engine, stoppedAt + GRACE_MS)).toBe(true);

  const summary = await run.result();
  const lines = logOf(summary.workflowId).filter((line) => line.stage === stage);
  const stop = lines.find(({ event }) => event === 'stage-stopped');
  expect(stop?.why).toBe('shutdown');
  // The last step before the end is in a checkpoint that was written after the signal ...
  const saved = lines
    .filter(({ event, attempt }) => event === 'checkpoint-written' && attempt === stop?.attempt)
    .at(-1);
  expect(Date.parse(saved?.time ?? '')).toBeGreaterThanOrEqual(stoppedAt);
  expect(saved?.done).toBeGreaterThanOrEqual(before.done);
  // ... and the next worker goes on from exactly there, at once: no heartbeat had to be missed.
  const resumed = run.progress.find((one: Progress) => one.stage === stage && one.resumedAt !== null);
  expect(resumed?.resumedAt).toBe(saved?.done);
  expect(lines.some(({ event }) => event === 'stage-failed')).toBe(false);
  expect(digestsOf(summary)).toEqual(undisturbed);
}

describe('a worker that is told to end', () => {
  it('in mid-finetuning, writes a checkpoint of the step that it does and ends; the next one goes on from there', () =>
    stopInMid('finetune', 5));

  it('in the middle of a batch of trajectories, keeps what the denoiser said so far', () => stopInMid('sample', 0.5));
});
