import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeTinyPipeline } from '../fixtures/tiny-pipeline.js';
import { runCli } from './run-cli.js';

const REFUSED = 2;
/** The exit code of OutputNotWritable: the environment, not the command, as for quantize. */
const NOT_WRITABLE = 3;

let folder: string;
let home: string;
let tiny: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'nibbleflow-bad-evaluation-'));
  home = join(folder, 'home');
  tiny = join(folder, 'tiny');
  await writeTinyPipeline(tiny);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** One clear message, exit code 2 unless said otherwise, nothing on stdout, no stack, and no server was started. */
async function expectRefusal(args: readonly string[], message: RegExp, code = REFUSED): Promise<void> {
  const out = args.includes('--out') ? [] : ['--out', join(folder, 'out')];
  const result = await runCli(['evaluate', ...args, ...out], { NIBBLEFLOW_HOME: home });
  expect(result.stderr).toMatch(message);
  expect(result).toMatchObject({ code, stdout: '' });
  expect(result.stderr).not.toMatch(/\n\s+at /);
  expect(await readdir(join(home, 'run')).catch(() => [])).not.toContain('services-local.json');
}

/** What is refused, and in which words, is tested in one process (prepare-evaluation.test.ts); here is what a shell sees of it. */
describe('evaluate refuses, before any server starts,', () => {
  it('no pipeline', () => expectRefusal([], /no pipeline to evaluate/));

  it('a folder that is no pipeline', async () => {
    await mkdir(join(folder, 'empty'));
    await expectRefusal([join(folder, 'empty')], /no model_index\.json/);
  });

  it('a setting that does not exist, with the nearest one', () =>
    expectRefusal([tiny, '--set', 'settings.kidSubset=5'], /did you mean settings\.kidSubsets\?/));

  it('an output with other files in it, which stay', async () => {
    const foreign = join(folder, 'foreign');
    await mkdir(foreign);
    await writeFile(join(foreign, 'mine.txt'), 'mine');
    await expectRefusal([tiny, '--out', foreign], /OutputNotWritable.*did not write.*foreign/s, NOT_WRITABLE);
    expect(await readFile(join(foreign, 'mine.txt'), 'utf8')).toBe('mine');
  });
});
