import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { RecipeInput } from '../../contracts/recipe.js';
import type { RunSummary } from '../../contracts/run-summary.js';
import type { SweepSummary } from '../../contracts/sweep.js';
import { writeTinyPipeline } from '../fixtures/tiny-pipeline.js';
import { CliHome, digestsOf } from './cli-home.js';

const RECIPE: RecipeInput = {
  name: 'small',
  sampling: { steps: 2 },
  calibration: { trajectories: 4, timesteps: 2 },
  evaluation: { samples: 8, timestepPairs: 16, beforeFinetuning: false },
  finetuning: { enabled: false },
};
/** Weights overflow in the first step, where finetuning is enabled: a run that fails for a reason of its own. */
const EXPLODING = [
  `finetuning.phases=${JSON.stringify([{ name: 'explosion', layers: ['time-embedding'], steps: 4, learningRateWeights: 1e38 }])}`,
  'finetuning.batchSize=2',
  'finetuning.validationFraction=0.5',
];
const RUN_MS = 240_000;

let home: CliHome;
let pipeline: string;

beforeAll(async () => {
  home = await CliHome.open(RECIPE);
  pipeline = join(home.folder, 'tiny');
  await writeTinyPipeline(pipeline);
});
afterAll(() => home.close());

function settings(...all: string[]): string[] {
  return all.flatMap((setting) => ['--set', setting]);
}

function sweep(...swept: string[]) {
  const fixed = ['--out', join(home.folder, 'swept'), '--threads', '1', '--output', 'json'];
  return home.run('sweep', pipeline, '--recipe', 'recipe.json', ...fixed, ...settings(...swept));
}

/** The cells that do not fail, again. */
async function swept(): Promise<SweepSummary> {
  const { code, stdout, stderr } = await sweep('weights.bits=8,4', 'finetuning.enabled=false', ...EXPLODING);
  expect(code, stderr).toBe(0);
  return JSON.parse(stdout) as SweepSummary;
}

describe('a sweep', () => {
  it('refuses one bad cell before any run starts', async () => {
    const refused = await sweep('weights.bits=4,9');
    expect(refused.code).toBe(2);
    expect(refused.stderr).toMatch(/InvalidRecipe: .*weights\.bits/);
    expect(home.processes()).toEqual([]);
  });

  it('runs every cell as quantize would, marks the front, and goes on without a run that fails', {
    timeout: RUN_MS,
  }, async () => {
    const result = await sweep('weights.bits=8,4', 'finetuning.enabled=false,true', ...EXPLODING);
    expect(result.code, result.stderr).toBe(4);
    const summary = JSON.parse(result.stdout) as SweepSummary;
    expect(summary.cells.map(({ name, state }) => [name, state])).toEqual([
      ['recipe weights.bits=8 finetuning.enabled=false', 'done'],
      ['recipe weights.bits=8 finetuning.enabled=true', 'failed'],
      ['recipe weights.bits=4 finetuning.enabled=false', 'done'],
      ['recipe weights.bits=4 finetuning.enabled=true', 'failed'],
    ]);
    expect(summary.cells[1]?.message).toMatch(/phase explosion/);
    const [eight, , four] = summary.cells;
    expect(eight?.headline?.psnrDb).toBeGreaterThan(four?.headline?.psnrDb ?? Number.POSITIVE_INFINITY);
    expect(four?.denoiserBytes).toBeLessThan(eight?.denoiserBytes ?? 0);
    expect(summary.front).toEqual([eight?.name, four?.name]);
    const page = await readFile(summary.report ?? '', 'utf8');
    expect(page).toContain('2 of 4 runs failed');
    const shipped = join(four?.out ?? '', 'unet', 'model.onnx');
    const inSweep = await readFile(shipped);
    const alone = await home.run(
      ...['quantize', pipeline, '--recipe', 'recipe.json', '--threads', '1', '--out', home.out, '--output', 'json'],
      ...settings('weights.bits=4', 'finetuning.enabled=false', ...EXPLODING),
    );
    expect(alone.code, alone.stderr).toBe(0);
    const single = JSON.parse(alone.stdout) as RunSummary;
    expect(Object.keys(digestsOf(single)).length).toBeGreaterThan(5);
    expect(Buffer.compare(await readFile(join(home.out, 'unet', 'model.onnx')), inSweep)).toBe(0);
  });

  it('goes on without a run that somebody cancelled', { timeout: RUN_MS }, async () => {
    const phases = [{ name: 'endless', layers: ['attention-projection'], steps: 100_000 }];
    const long = { ...RECIPE, name: 'long', finetuning: { phases, patience: 1000 } };
    await writeFile(join(home.folder, 'long.json'), JSON.stringify(long));
    const recipes = ['--recipe', 'recipe.json,long.json', '--parallel', '2', '--threads', '1'];
    const started = await home.run('sweep', pipeline, ...recipes, '--out', join(home.folder, 'cancelled'), '--detach');
    expect(started.code, started.stderr).toBe(0);
    const id = /sweep\/tiny\/\w+/.exec(started.stdout)?.[0] ?? '';
    const endless = async (): Promise<string | undefined> => {
      const { runs } = JSON.parse((await home.run('runs', '--output', 'json')).stdout);
      return runs.find((run: { workflowId: string }) => run.workflowId.includes('/long/'))?.workflowId;
    };
    await expect.poll(endless, { timeout: RUN_MS / 2 }).toBeDefined();
    expect((await home.run('cancel', (await endless()) ?? '')).code).toBe(0);
    const end = await home.run('attach', id, '--output', 'json');
    expect(JSON.parse(end.stdout)).toMatchObject({
      cells: [{ state: 'done' }, { state: 'failed', message: 'the run was cancelled' }],
    });
  });

  it('run again reuses every stage, and says the minutes that making them took', {
    timeout: RUN_MS,
  }, async () => {
    // Of two runs that compute the same stage at the same time, either result stays: the second look is compared with the third.
    const [second, third] = [await swept(), await swept()];
    const seconds = ({ cells }: SweepSummary) => cells.map(({ workSeconds }) => workSeconds);
    expect(seconds(second).every((work) => (work ?? 0) > 0)).toBe(true);
    expect(seconds(third)).toEqual(seconds(second));
  });
});
