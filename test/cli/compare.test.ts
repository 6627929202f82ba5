import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { promptsDigest } from '../../activities/prompts-digest.js';
import { writeComparisonGrid } from '../../cli/comparison-grid.js';
import { comparisonText } from '../../cli/comparison-text.js';
import { readComparedFolder } from '../../cli/read-compared-folder.js';
import { protocolSchema } from '../../contracts/protocol.js';
import { recipeSchema } from '../../contracts/recipe.js';
import { compareSides } from '../../evaluation/compare/compare-sides.js';
import { scoreList } from '../evaluation/report/score-fixture.js';
import { runCli } from './run-cli.js';

let home: string;
let left: string;
let right: string;

/** An output folder as quantize writes it, without the model files. */
async function outputFolder(name: string, groupSize: number, psnr: readonly number[]): Promise<string> {
  const folder = join(home, name);
  const recipe = recipeSchema.parse({ name, weights: { groupSize } });
  const files = {
    'unet/model.onnx': { digest: 'x', sizeBytes: 2_000_000 + groupSize },
    'unet/config.json': { digest: 'y', sizeBytes: 9 },
  };
  const manifest = { generator: 'nibbleflow', schemaVersion: 1, input: { pipeline: 'p', digest: 'f' }, recipe, files };
  const prompts = psnr.map((_, i) => `prompt ${i}`);
  const pictures = { schemaVersion: 1, prompts, seed: 1000, steps: 20, guidance: 1.5, float: 'f', values: { psnr } };
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'manifest.json'), JSON.stringify(manifest));
  await writeFile(join(folder, 'pictures.json'), JSON.stringify(pictures));
  await writeFile(join(folder, 'scores.json'), JSON.stringify(scoreList('a|b <i>')));
  const create = { width: 40, height: groupSize, channels: 3 as const, background: '#f00' };
  await sharp({ create }).png().toFile(join(folder, 'samples.png'));
  return folder;
}

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'nibbleflow-compare-'));
  left = await outputFolder('one', 64, [20, 22, 24]);
  right = await outputFolder('two', 32, [21, 23, 26]);
});
afterAll(() => rm(home, { recursive: true, force: true }));

describe('comparing output folders', () => {
  test('shows the paired difference, the settings that differ, and the size', async () => {
    const comparison = compareSides(await readComparedFolder(left), await readComparedFolder(right));
    expect(comparison.settings).toEqual([
      { path: 'recipe.name', left: 'one', right: 'two' },
      { path: 'recipe.weights.groupSize', left: 64, right: 32 },
    ]);
    expect(comparison.bytes).toEqual({ left: 2_000_064, right: 2_000_032 });
    const text = comparisonText(comparison, 'text');
    expect(text).toMatch(/psnr-256, dB +23\.25 +23\.25 +\+1\.33 +−0\.10 to \+2\.77 +95 % paired/);
    expect(text).toMatch(/recipe\.weights\.groupSize +64 +32/);
    expect(text).toContain('one side has no value');
    expect(text).not.toMatch(/undefined|NaN|\[object/);
  });

  test('as Markdown keeps hostile names inside their cells', async () => {
    const text = comparisonText(compareSides(await readComparedFolder(left), await readComparedFolder(right)), 'md');
    expect(text).toContain('## one and two');
    const rows = text.split('\n').filter((line) => line.startsWith('|'));
    for (const line of rows) expect(line.replaceAll('\\|', '').endsWith('|')).toBe(true);
    expect(text).toContain('a\\|b \\<i\\>');
    expect(text).not.toMatch(/(?<!\\)<i/);
  });

  test('a scores.json alone is a side, and says what could not be checked', async () => {
    const bare = await readComparedFolder(join(left, 'scores.json'));
    const comparison = compareSides(bare, await readComparedFolder(right));
    expect(bare.kind).toBe('scores');
    expect(comparison.warnings.join(' ')).toMatch(/not checked: prompts, seed, steps/);
  });

  test('knows the prompts of an evaluation without a float pipeline by their digest in the manifest', async () => {
    const side = async (name: string, prompts: readonly string[]) => {
      const folder = join(home, name);
      await mkdir(folder, { recursive: true });
      const protocol = protocolSchema.parse({ name: 'standard', sampling: { guidance: 1 } });
      const digest = { count: prompts.length, digest: promptsDigest(prompts) };
      const manifest = { generator: 'nibbleflow', kind: 'evaluation', protocol, prompts: digest, files: {} };
      await writeFile(join(folder, 'manifest.json'), JSON.stringify(manifest));
      await writeFile(join(folder, 'scores.json'), JSON.stringify(scoreList('a')));
      return readComparedFolder(folder);
    };
    const [cats, dogs, again] = [
      await side('cats', ['cat']),
      await side('dogs', ['dog']),
      await side('again', ['cat']),
    ];
    const other = compareSides(cats, dogs);
    expect(other.scores.every(({ unlike }) => unlike.some((reason) => reason.startsWith('prompts: ')))).toBe(true);
    expect(other.warnings.join()).not.toMatch(/not checked: prompts/);
    expect(compareSides(cats, again).scores.some(({ delta }) => delta === 0)).toBe(true);
  });

  test('puts both sample sheets beside each other', async () => {
    const file = join(home, 'both.png');
    await writeComparisonGrid([left, right], file);
    const { data, info } = await sharp(file).raw().toBuffer({ resolveWithObject: true });
    expect(info).toMatchObject({ width: 104, height: 64 });
    const at = (x: number, y: number) => Array.from(data.subarray((y * 104 + x) * 3, (y * 104 + x) * 3 + 3));
    expect([at(0, 63), at(52, 0), at(64, 0), at(64, 40)]).toEqual([
      [255, 0, 0],
      [250, 250, 250],
      [255, 0, 0],
      [250, 250, 250],
    ]);
  });
});

describe('what cannot be compared', () => {
  const refused = async (path: string) => readComparedFolder(path).catch((error: unknown) => error);

  test('is refused with the file and what to do', async () => {
    const wrong = join(home, 'wrong');
    await mkdir(wrong, { recursive: true });
    expect(await refused(wrong)).toMatchObject({
      kind: 'InvalidInput',
      message: expect.stringContaining('has no scores.json'),
    });
    const cases = [
      ['', 'not JSON'],
      ['{"a": 1}', 'not one of nibbleflow’s'],
      ['[{"name": "psnr-1"}]', 'not one of nibbleflow’s: 0.metric'],
    ];
    for (const [text = '', message] of cases) {
      await writeFile(join(wrong, 'scores.json'), text);
      expect(await refused(wrong)).toMatchObject({
        kind: 'InvalidInput',
        message: expect.stringContaining(message ?? ''),
      });
    }
    await writeFile(join(wrong, 'samples.png'), 'no picture');
    const grid = await writeComparisonGrid([left, wrong], join(home, 'g.png')).catch((error: unknown) => error);
    expect(grid).toMatchObject({ kind: 'InvalidInput', where: join(wrong, 'samples.png') });
  });

  test('ends the command with exit code 2, and equal folders with 0', async () => {
    const missing = await runCli(['compare', left, join(home, 'missing')]);
    expect(missing).toMatchObject({ code: 2, stdout: '' });
    expect(missing.stderr).toContain('there is no such file or folder');
    const same = await runCli(['compare', left, left, '--output', 'json']);
    expect(same.code).toBe(0);
    expect(JSON.parse(same.stdout)).toMatchObject({ left: 'one', settings: [], onlyLeft: [] });
    expect(JSON.parse(await readFile(join(left, 'scores.json'), 'utf8'))).toHaveLength(5);
  });
});
