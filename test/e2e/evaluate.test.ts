import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { terminate } from '../../cli/server/processes.js';
import { type Score, scoreSchema } from '../../contracts/score.js';
import type { Comparison } from '../../evaluation/compare/comparison.js';
import { perturbed } from '../activities/perturbed-unet.js';
import { writePictures } from '../cli/picture-folders.js';
import { tinyUnet, writeTinyPipeline } from '../fixtures/tiny-pipeline.js';
import { CliHome } from './cli-home.js';

const RUN_MS = 300_000;

let home: CliHome;
let other: CliHome;
let scores: Score[];

/** Both homes have the pipelines in folders of the same name: names are part of what is compared. */
async function homeWithPipelines(): Promise<CliHome> {
  const made = await CliHome.open({ name: 'unused' });
  await writeTinyPipeline(join(made.folder, 'float'));
  await writeTinyPipeline(join(made.folder, 'candidate'), perturbed(tinyUnet(), 0.02));
  return made;
}

/** 130 pictures: three shards, the last of two pictures. */
function evaluate(of: CliHome, ...more: string[]): string[] {
  const folders = [join(of.folder, 'candidate'), '--against', join(of.folder, 'float')];
  const settings = ['--set', 'sampling.steps=4', '--set', 'settings.permutations=20', '--samples', '130'];
  return ['evaluate', ...folders, ...settings, '--threads', '1', '--out', of.out, ...more];
}

beforeAll(async () => {
  home = await homeWithPipelines();
  other = await homeWithPipelines();
  const result = await home.run(...evaluate(home, '--output', 'json'));
  if (result.code !== 0) throw new Error(`evaluate ended with ${result.code}: ${result.stderr}`);
  scores = (JSON.parse(result.stdout) as unknown[]).map((score) => scoreSchema.parse(score));
}, RUN_MS);

afterAll(async () => {
  await home.close();
  await other.close();
});

describe('nibbleflow evaluate', () => {
  it('prints an array of scores, and writes the same beside report, protocol and manifest', async () => {
    const names = scores.map(({ metric, against }) => `${metric} ${against}`);
    for (const name of ['psnr float', 'latent-sqnr float', 'frechet float', 'kid float', 'inception-score none']) {
      expect(names).toContain(name);
    }
    expect(new Set(scores.map(({ protocol }) => protocol)).size).toBe(1);
    expect(JSON.parse(await readFile(join(home.out, 'scores.json'), 'utf8'))).toEqual(scores);
    const protocol = JSON.parse(await readFile(join(home.out, 'protocol.json'), 'utf8')) as Record<string, unknown>;
    expect(protocol).toMatchObject({ name: 'standard', samples: 130, digest: scores[0]?.protocol });
    const report = await readFile(join(home.out, 'report.html'), 'utf8');
    expect(report).toContain(`psnr-130`);
    expect(existsSync(join(home.out, 'manifest.json'))).toBe(true);
  });

  it('samples nothing again for other metrics, and nothing at all for the same command', {
    timeout: RUN_MS,
  }, async () => {
    const again = await home.run(...evaluate(home));
    expect(again).toMatchObject({ code: 0 });
    expect(again.stdout).toMatch(/reused (\d+) of \1\n/);
    expect(again.stdout).toContain('psnr-130');
    const fewer = await home.run(...evaluate(home, '--set', 'metrics=[kid]', '--out', join(home.folder, 'kid')));
    expect(fewer).toMatchObject({ code: 0 });
    expect(fewer.stderr).toMatch(/✓ sample 130 pictures of candidate · reused/);
    const kid = JSON.parse(await readFile(join(home.folder, 'kid', 'scores.json'), 'utf8')) as Score[];
    const found = (list: readonly Score[]) => list.find(({ metric }) => metric === 'kid')?.value;
    expect(found(kid)).toBe(found(scores));
  });

  it('is listed, can be asked for and attached to', async () => {
    const runs = await home.run('runs');
    const id = /evaluate\/candidate\/standard\/[0-9a-f]{8}/.exec(runs.stdout)?.[0] ?? '';
    expect(runs.stdout).toMatch(/evaluate\/candidate\/standard\/[0-9a-f]{8} +completed/);
    expect((await home.run('status', id)).stdout).toContain(`${id}  completed`);
    const attached = await home.run('attach', id, '--output', 'json');
    expect(Array.isArray(JSON.parse(attached.stdout))).toBe(true);
  });

  it('is compared by its id with a folder, pair by pair', async () => {
    // Newest first: the evaluation that home.out is of was the first.
    const runs = (await home.run('runs')).stdout.matchAll(/evaluate\/candidate\/standard\/([0-9a-f]{8})/g);
    const id = [...runs].at(-1)?.[1] ?? '';
    const compared = await home.run('compare', id, home.out, '--output', 'json');
    expect(compared).toMatchObject({ code: 0 });
    const { scores: rows, settings } = JSON.parse(compared.stdout) as Comparison;
    expect(settings).toEqual([]);
    expect(rows).toHaveLength(scores.length);
    const psnr = rows.find(({ metric }) => metric === 'psnr');
    expect(psnr).toMatchObject({ delta: 0, low: 0, high: 0, interval: 'paired-student-t', unlike: [] });
    expect((await home.run('compare', 'ffffffff', home.out)).code).toBe(2);
  });

  it('ends with the same scores when engine and worker are killed on the way', { timeout: RUN_MS }, async () => {
    const started = await other.run(...evaluate(other, '--detach'));
    expect(started).toMatchObject({ code: 0 });
    await expect.poll(() => other.engines().length, { timeout: 60_000 }).toBeGreaterThan(0);
    for (const engine of other.engines()) await terminate(engine, 0);
    const worker = other.processes().find(({ command }) => /worker-process\.js/.test(command));
    if (worker === undefined) throw new Error('no worker to kill');
    await terminate(worker.ref, 0);
    const attached = await other.run('attach', started.stdout.trim(), '--output', 'json');
    expect(attached).toMatchObject({ code: 0 });
    expect(JSON.parse(attached.stdout)).toEqual(scores);
  });
});

describe('nibbleflow evaluate against pictures', () => {
  it('measures a pipeline alone against a folder, and against its statistics', { timeout: RUN_MS }, async () => {
    const folder = join(home.folder, 'reference');
    await writePictures(folder, { seed: 3, n: 60, height: 32, width: 32, shape: 'disc' });
    expect((await home.run('stats', folder, join(home.folder, 'reference.npz'), '--threads', '1')).code).toBe(0);
    const alone = (reference: string) => [
      ...['evaluate', join(home.folder, 'float'), '--reference', join(home.folder, reference), '--samples', '60'],
      ...[
        '--set',
        'sampling.steps=3',
        '--threads',
        '1',
        '--out',
        join(home.folder, `of-${reference}`),
        '--output',
        'json',
      ],
    ];
    const of = async (reference: string): Promise<Score[]> => {
      const result = await home.run(...alone(reference));
      expect(result).toMatchObject({ code: 0 });
      return JSON.parse(result.stdout) as Score[];
    };
    const [pictures, statistics] = [await of('reference'), await of('reference.npz')];
    const frechet = (scores: readonly Score[]) => scores.find(({ metric }) => metric === 'frechet');
    expect(frechet(pictures)).toMatchObject({ against: 'reference', n: 60, referenceN: 60, floor: expect.any(Number) });
    // The file holds float64 moments of the same features: only the factors differ, by rounding.
    expect(frechet(statistics)?.value).toBeCloseTo(frechet(pictures)?.value ?? Number.NaN, 6);
    expect(frechet(statistics)?.notes.join()).toContain('provenance unknown');
    expect(pictures.some(({ metric }) => metric === 'psnr')).toBe(false);
    expect(statistics.find(({ metric }) => metric === 'kid')?.value).toBeNull();
  });

  it('replaces no pipeline by a report', async () => {
    const shipped = join(home.folder, 'shipped');
    await mkdir(shipped);
    await writeFile(join(shipped, 'manifest.json'), JSON.stringify({ generator: 'nibbleflow', files: {} }));
    const result = await home.run(...evaluate(home, '--out', shipped));
    expect(result).toMatchObject({ code: 3, stdout: '' });
    expect(result.stderr).toContain('the output folder holds a nibbleflow pipeline');
  });
});
