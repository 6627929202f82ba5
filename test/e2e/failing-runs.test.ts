import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isRunning } from '../../cli/server/processes.js';
import type { RecipeInput } from '../../contracts/recipe.js';
import { CliHome } from './cli-home.js';

const RECIPE: RecipeInput = {
  name: 'failing',
  sampling: { steps: 2 },
  calibration: { trajectories: 2, timesteps: 2 },
  evaluation: { samples: 2, timestepPairs: 16, beforeFinetuning: false },
  finetuning: {
    batchSize: 2,
    validationFraction: 0.5,
    // Weights overflow in the first step.
    phases: [{ name: 'explosion', layers: ['time-embedding'], steps: 4, learningRateWeights: 1e38 }],
  },
};

/** The server's database stays below, the denoiser's file of 16 MB does not fit. */
const LARGEST_FILE_KB = 12_000;
const RUN_MS = 240_000;

let home: CliHome;

beforeEach(async () => {
  home = await CliHome.open(RECIPE);
});
afterEach(() => home.close());

/** One message, no stack, nothing half-written, no engine left, and everything ends with down. */
async function expectCleanFailure(result: { stdout: string; stderr: string }, message: RegExp): Promise<void> {
  expect(result.stderr).toMatch(message);
  expect(result.stderr.match(/^nibbleflow: /gm)).toHaveLength(1);
  expect(result.stderr).not.toMatch(/\n\s+at /);
  expect(result.stdout).toBe('');
  expect(await home.leftovers()).toEqual([]);
  expect(home.engines()).toEqual([]);
  const processes = home.processes();
  expect(processes.length).toBeGreaterThanOrEqual(3);
  expect((await home.run('down')).code).toBe(0);
  expect(processes.filter(({ ref }) => isRunning(ref))).toEqual([]);
}

describe('a run that fails', () => {
  it('for want of disk space ends with 3, and goes on when there is some again', { timeout: RUN_MS }, async () => {
    const failed = await home.runWithSmallFiles(LARGEST_FILE_KB, ...home.quantizeArguments());
    expect(failed.code).toBe(3);
    await expectCleanFailure(
      failed,
      /DiskFull: the run failed: no space left on the disk \(.*store.*\)\n {2}Free some space/,
    );
    const summary = await home.quantize('--set', 'finetuning.enabled=false');
    expect(summary.report).not.toBeNull();
  });

  it('for a reason of its own ends with 4 and says what to change', { timeout: RUN_MS }, async () => {
    const failed = await home.run(...home.quantizeArguments());
    expect(failed.code).toBe(4);
    await expectCleanFailure(
      failed,
      /NonFiniteLoss: the run failed: .*phase explosion, step 1.*\n {2}Lower finetuning/,
    );
  });
});
