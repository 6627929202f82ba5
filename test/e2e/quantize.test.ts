import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isRunning } from '../../cli/server/processes.js';
import type { RecipeInput } from '../../contracts/recipe.js';
import type { RunSummary } from '../../contracts/run-summary.js';
import { CliHome, digestsOf } from './cli-home.js';

const RECIPE: RecipeInput = {
  name: 'tiny',
  sampling: { steps: 3 },
  calibration: { trajectories: 4, timesteps: 3 },
  evaluation: { samples: 4, timestepPairs: 16 },
  finetuning: {
    batchSize: 4,
    validateEvery: 2,
    phases: [{ name: 'time', layers: ['time-embedding', 'attention-projection'], steps: 4 }],
  },
};

/** Import to report on the real pipeline, on a machine that is busy with other tests. */
const RUN_MS = 240_000;

let first: CliHome;
let second: CliHome;
let said: string;
let summary: RunSummary;

beforeAll(async () => {
  first = await CliHome.open(RECIPE);
  second = await CliHome.open(RECIPE);
  const { code, stdout, stderr } = await first.run(...first.quantizeArguments('--output', 'jsonl'));
  expect(stderr).toContain('✓ write');
  expect(code).toBe(0);
  said = stdout;
  const finished = events().find(({ event }) => event === 'finished');
  summary = (finished as unknown as { summary: RunSummary }).summary;
}, RUN_MS);
afterAll(async () => {
  await first.close();
  await second.close();
});

function events(): Record<string, unknown>[] {
  return said
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

async function filesOf(folder: string): Promise<Record<string, string>> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  const hashed = files.map(async (path) => {
    const digest = createHash('sha256')
      .update(await readFile(path))
      .digest('hex');
    return [path.slice(folder.length + 1), digest] as const;
  });
  return Object.fromEntries(await Promise.all(hashed));
}

describe('nibbleflow quantize', () => {
  it('runs every stage on the real server, with live progress and a page in the UI', async () => {
    const started = events()[0];
    expect(started).toMatchObject({ event: 'started', attached: false, workflowId: summary.workflowId });
    expect((await fetch(String(started?.uiUrl))).status).toBe(200);
    const inside = events().flatMap((event) => (event.event === 'progress' && event.inside ? [event.inside] : []));
    expect(inside).toContainEqual(expect.objectContaining({ stage: 'finetune', unit: 'steps', total: 4 }));
    expect(summary.stages.map(({ state }) => state)).toEqual(new Array(14).fill('done'));
    expect(summary.reused).toBe(0);
    const labels = ['noise floor (float, other seeds)', 'before finetuning', 'finetuned'];
    expect(summary.scores.map(({ label }) => label)).toEqual(labels);
    expect(summary.report).toBe(join(first.out, 'report.html'));
  });

  it('gives the same digests and the same files from an empty store', { timeout: RUN_MS }, async () => {
    const other = await second.quantize();
    expect(other.reused).toBe(0);
    expect(digestsOf(other)).toEqual(digestsOf(summary));
    expect(Object.keys(digestsOf(other))).toEqual(
      expect.arrayContaining(['convert.pipeline', 'finetune.parameters', 'evaluate.scores', 'evaluate.images']),
    );
    const [one, two] = [await filesOf(first.out), await filesOf(second.out)];
    // These three tell run ids, times and paths; what they list is compared above.
    for (const path of ['manifest.json', 'report.html', 'README.md']) {
      expect(one).toHaveProperty([path]);
      delete one[path];
      delete two[path];
    }
    expect(two).toEqual(one);
    expect(Object.keys(one)).toContain(join('unet', 'model.onnx'));
  });

  it('reuses every stage when the same command runs again', async () => {
    const again = await first.run(...first.quantizeArguments());
    expect(again).toMatchObject({ code: 0 });
    expect(again.stdout).toContain('reused 14 of 14');
    expect(again.stdout).toContain('Same-seed PSNR');
    expect(again.stdout).toContain(join(first.out, 'report.html'));
    expect(again.stdout).toMatch(/http:\/\/127\.0\.0\.1:\d+\/namespaces\/default\/workflows\/quantize%2Femoji-t2i/);
  });

  it('answers status, runs and attach about it', async () => {
    const id = summary.workflowId.split('/').at(-1) ?? '';
    const [status, runs, attach] = [
      await first.run('status', id),
      await first.run('runs'),
      await first.run('attach', id),
    ];
    expect(status.stdout).toContain(`${summary.workflowId}  completed  14 of 14 stages`);
    expect(runs.stdout.match(new RegExp(`${summary.workflowId} +completed`, 'g'))).toHaveLength(2);
    expect(attach).toMatchObject({ code: 0 });
    expect(attach.stdout).toContain('reused 14 of 14');
  });

  it('leaves no process behind after down, engine children included', async () => {
    await second.run(...second.quantizeArguments('--set', 'evaluation.seed=1001', '--detach'));
    await expect.poll(() => second.engines().length, { timeout: 60_000 }).toBeGreaterThan(0);
    const processes = second.processes();
    expect(processes.length).toBeGreaterThanOrEqual(4);
    expect(processes.every(({ ref }) => isRunning(ref))).toBe(true);
    expect((await second.run('down')).code).toBe(0);
    expect(processes.filter(({ ref }) => isRunning(ref))).toEqual([]);
  });
});
