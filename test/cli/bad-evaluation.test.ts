import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { packageRoot } from '../../cli/package-root.js';
import { writeTinyPipeline } from '../fixtures/tiny-pipeline.js';
import { runCli } from './run-cli.js';

const ZOO_PIPELINE = join(packageRoot(), 'models', 'zoo', 'emoji-t2i');
const FEWEST_SHOWN = /mean nothing.*\n.*50/s;
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

describe('evaluate refuses, before any server starts,', () => {
  it('no pipeline', () => expectRefusal([], /no pipeline to evaluate/));

  it('a missing folder, on either side', async () => {
    await expectRefusal([join(folder, 'gone')], /does not exist.*gone/s);
    await expectRefusal([tiny, '--against', join(folder, 'gone')], /does not exist.*gone/s);
  });

  it('a folder that is no pipeline', async () => {
    await mkdir(join(folder, 'empty'));
    await expectRefusal([join(folder, 'empty')], /no model_index\.json/);
  });

  it('a float pipeline with latents of another size', () =>
    expectRefusal([tiny, '--against', ZOO_PIPELINE], /differ in their .*sizes of latents/));

  it('a float pipeline with another sampler', async () => {
    const other = join(folder, 'other-sampler');
    await writeTinyPipeline(other);
    const file = join(other, 'scheduler', 'scheduler_config.json');
    const config = JSON.parse(await readFile(file, 'utf8')) as object;
    await writeFile(file, JSON.stringify({ ...config, beta_end: 0.03 }));
    await expectRefusal([tiny, '--against', other], /differ in their samplers/);
  });

  it('too few pictures for a distance', () => expectRefusal([tiny, '--samples', '20'], FEWEST_SHOWN));

  it('samples that are no number', () => expectRefusal([tiny, '--samples', 'many'], /samples/));

  it('an unknown protocol', () => expectRefusal([tiny, '--protocol', 'quik'], /Did you mean quick/));

  it('an unknown setting and an unknown metric, with the nearest ones', async () => {
    await expectRefusal([tiny, '--set', 'settings.kidSubset=5'], /did you mean settings\.kidSubsets\?/);
    await expectRefusal([tiny, '--set', 'metrics=[frechett]'], /Did you mean frechet\?/);
  });

  it('a reference that is missing, too small, or no statistics', async () => {
    await expectRefusal([tiny, '--reference', join(folder, 'nowhere')], /reference.*nowhere/s);
    await mkdir(join(folder, 'no-pictures'));
    await expectRefusal([tiny, '--reference', join(folder, 'no-pictures')], /has 0 pictures/);
    await writeFile(join(folder, 'text.npz'), 'not a zip');
    await expectRefusal([tiny, '--reference', join(folder, 'text.npz')], /text\.npz/);
  });

  it('an unknown extractor and an unknown device, with the nearest ones', async () => {
    await expectRefusal([tiny, '--extractor', 'cifar10-resnt'], /Did you mean cifar10-resnet\?/);
    await expectRefusal([tiny, '--device', 'webgp'], /Did you mean webgpu\?/);
  });

  it('an output in the pipeline, and one with other files in it, which stay', async () => {
    await expectRefusal([tiny, '--out', join(tiny, 'out')], /output folder lies in the pipeline/);
    const foreign = join(folder, 'foreign');
    await mkdir(foreign);
    await writeFile(join(foreign, 'mine.txt'), 'mine');
    await expectRefusal([tiny, '--out', foreign], /OutputNotWritable.*did not write.*foreign/s, NOT_WRITABLE);
    expect(await readFile(join(foreign, 'mine.txt'), 'utf8')).toBe('mine');
  });
});
