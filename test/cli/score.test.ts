import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MOST_PER_CHUNK } from '../../activities/features/key-buckets.js';
import { type Score, scoreSchema } from '../../contracts/score.js';
import { writePictures } from './picture-folders.js';
import { type CliResult, runCli, spawnCli } from './run-cli.js';

/** Rounding of Fréchet between the way over rows and the way over a file's covariance. */
const ROWS_OR_MOMENTS = 1e-7;

const SIZE = { height: 24, width: 30 } as const;
const N = 60;
const THREADS = ['--threads', '1'];

let folder: string;
let fake: string;
let real: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'nibbleflow-score-'));
  fake = await writePictures(join(folder, 'fake'), { ...SIZE, n: N, seed: 1, shape: 'disc' });
  real = await writePictures(join(folder, 'real'), { ...SIZE, n: N, seed: 2, shape: 'bar' });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const run = (home: string, ...args: string[]): Promise<CliResult> =>
  runCli([...args, ...THREADS], { NIBBLEFLOW_HOME: join(folder, home) });

/** The array on stdout, each member as the contract says. */
async function scores(home: string, ...args: string[]): Promise<Score[]> {
  const { code, stdout, stderr } = await run(home, 'score', ...args, '--output', 'json');
  expect(stderr).not.toMatch(/nibbleflow: /);
  expect(code).toBe(0);
  return scoreSchema.array().parse(JSON.parse(stdout));
}

const score = (all: readonly Score[], metric: string): Score => {
  const found = all.find((one) => one.metric === metric);
  if (found === undefined) throw new Error(`no ${metric}`);
  return found;
};

/** The same pictures under names in another order, in folders of their own. */
async function renamed(name: string, shape: 'disc' | 'bar', seed: number): Promise<string> {
  return writePictures(join(folder, name), { ...SIZE, n: N, seed, shape }, (i) => `z${(N - i).toString(36)}.png`);
}

describe('nibbleflow score', () => {
  it('prints an array of scores that tell sets apart, each beside its noise floor', async () => {
    const all = await scores('home', fake, real);
    expect(all.map(({ metric }) => metric)).toEqual(
      expect.arrayContaining(['frechet', 'sfid', 'kid', 'precision', 'coverage', 'mind', 'visual-dna', 'ood-rate']),
    );
    const { name, value, low, high, n, floor, against, notes } = score(all, 'frechet');
    expect(name).toMatch(new RegExp(`^frechet\\[cifar10-resnet@[0-9a-f]{8}\\]-${N}$`));
    expect({ n, against }).toEqual({ n: N, against: 'reference' });
    expect(low).toBeLessThanOrEqual(value as number);
    expect(high).toBeGreaterThanOrEqual(value as number);
    expect(value).toBeGreaterThan(2 * (floor as number));
    expect(notes.join('\n')).toMatch(`two random halves of the reference against each other, n = ${N / 2} each`);
  });

  it('gives equal scores to the bit for other file names, another order and another store', async () => {
    const straight = await run('home', 'score', fake, real, '--output', 'json');
    const names = [await renamed('fake-renamed', 'disc', 1), await renamed('real-renamed', 'bar', 2)];
    const turned = await run('another-home', 'score', ...names, '--output', 'json');
    expect(turned).toMatchObject({ code: 0, stdout: straight.stdout });
  });

  it('finds a set at no distance from itself, and its pairs equal', async () => {
    const copy = join(folder, 'copy');
    await cp(fake, copy, { recursive: true });
    const all = await scores('home', copy, fake, '--paired', '--metrics', 'frechet,mind,prdc,psnr,ssim,lpips');
    const values = Object.fromEntries(all.map(({ metric, value }) => [metric, value]));
    expect(values).toEqual({
      ...{ psnr: 100, ssim: 1, lpips: 0, frechet: 0, mind: 0 },
      ...{ precision: 1, recall: 1, density: 1, coverage: 1 },
    });
  });

  it('gives the scores of a folder for its statistics with rows, and Fréchet alone for an .npz', async () => {
    const straight = await scores('home', fake, real);
    for (const file of ['real.safetensors', 'real.npz']) {
      const rows = file.endsWith('.npz') ? [] : ['--features'];
      expect(await run('home', 'stats', real, join(folder, file), ...rows)).toMatchObject({ code: 0, stdout: '' });
    }
    expect(await scores('home', fake, join(folder, 'real.safetensors'))).toEqual(straight);
    const moments = await scores('home', fake, join(folder, 'real.npz'));
    const { value, referenceN, notes } = score(moments, 'frechet');
    const expected = score(straight, 'frechet').value as number;
    expect(Math.abs((value as number) - expected)).toBeLessThanOrEqual(ROWS_OR_MOMENTS * expected);
    expect(referenceN).toBeNull();
    expect(notes.join('\n')).toMatch(/provenance unknown/);
    expect(score(moments, 'kid')).toMatchObject({ value: null });
    expect(score(moments, 'kid').notes.join('\n')).toMatch(
      /left out: it needs the features of every reference picture/,
    );
  });

  it('says of a JPEG reference that it is lossy, also in Markdown', async () => {
    const jpeg = join(folder, 'jpeg');
    await cp(real, jpeg, { recursive: true });
    const sharp = (await import('sharp')).default;
    await sharp(join(jpeg, '0000.png')).jpeg({ quality: 90 }).toFile(join(jpeg, 'x.jpg'));
    const { code, stdout } = await run('home', 'score', fake, jpeg, '--metrics', 'frechet', '--output', 'md');
    expect(code).toBe(0);
    expect(stdout).toMatch(/^\| score \| value \|/);
    expect(stdout).toMatch(/1 of 61 pictures are JPEG/);
  });
});

describe('nibbleflow score that is killed', () => {
  it('goes on where it was, with equal scores, and leaves no process', async () => {
    const n = MOST_PER_CHUNK + 100; // two chunks
    const small = { height: 12, width: 12, shape: 'disc' } as const;
    const many = await writePictures(join(folder, 'many'), { ...small, n, seed: 3 });
    const args = ['score', many, real, '--metrics', 'frechet', '--output', 'json'];
    const env = { NIBBLEFLOW_HOME: join(folder, 'killed-home') };
    const child = spawnCli([...args, ...THREADS], env);
    let engines: number[] = [];
    await untilChunkIsStored(join(folder, 'killed-home', 'store', 'results'), () => {
      engines = childrenOf(child.pid as number);
    });
    child.kill('SIGKILL');
    await once(child, 'close');
    expect(engines.length).toBeGreaterThan(0);
    await gone(engines);

    const again = await run('killed-home', ...args);
    expect(again.code).toBe(0);
    const [, extracted = '', known = ''] =
      /many: \d+ pictures, (\d+) extracted, (\d+) known from before/.exec(again.stderr) ?? [];
    expect(Number(known)).toBeGreaterThan(0);
    expect(Number(extracted)).toBeGreaterThan(0);
    expect(Number(extracted) + Number(known)).toBe(n);
    const fresh = await run('fresh-home', ...args);
    expect(again.stdout).toBe(fresh.stdout);
  });
});

describe('nibbleflow evaluate --self-test', () => {
  it('passes here with a row for each promise', async () => {
    const { code, stdout } = await run('home', 'evaluate', '--self-test');
    expect(stdout).toMatch(/All \d+ checks passed\./);
    expect(stdout).not.toMatch(/FAILED/);
    expect(code).toBe(0);
    for (const promise of [/another order .* to the bit/, /in batches of 1/, /PNG files/, /halves of a set/]) {
      expect(stdout).toMatch(promise);
    }
  });
});

/** Waits for the first stored result, looking at the processes meanwhile. */
async function untilChunkIsStored(results: string, look: () => void): Promise<void> {
  await mkdir(results, { recursive: true });
  for (;;) {
    look();
    const files = await readdir(results, { recursive: true });
    if (files.some((name) => name.endsWith('.json'))) return;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

function childrenOf(pid: number): number[] {
  const rows = execFileSync('ps', ['-eo', 'pid=,ppid='], { encoding: 'utf8' }).trim().split('\n');
  return rows
    .map((row) => row.trim().split(/\s+/).map(Number))
    .flatMap(([own, parent]) => (parent === pid ? [own as number] : []));
}

/** Children end by themselves when their parent is gone. */
async function gone(pids: readonly number[]): Promise<void> {
  const alive = (pid: number): boolean => {
    try {
      process.kill(pid, 0);
      return true;
    } catch {
      return false;
    }
  };
  const deadline = Date.now() + 10_000;
  while (pids.some(alive)) {
    if (Date.now() > deadline) throw new Error(`still running: ${pids.filter(alive).join(', ')}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
