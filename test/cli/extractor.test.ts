import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { packageRoot } from '../../cli/package-root.js';
import { formulaWeights } from '../evaluation/features/inception/formula-weights.js';
import { stateDictFile } from '../models/weights/torch-files.js';
import { type CliResult, runCli } from './run-cli.js';

const GOLDEN = join(packageRoot(), 'test', 'golden', 'inception');
let folder: string;
let home: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'nibbleflow-extractor-cli-'));
  home = join(folder, 'home');
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const run = (...args: string[]): Promise<CliResult> =>
  runCli(['extractor', ...args], { NIBBLEFLOW_HOME: home }, folder);

async function file(name: string, content: string | Uint8Array): Promise<string> {
  await writeFile(join(folder, name), content);
  return join(folder, name);
}

/** One message, exit code 2, nothing on stdout, and nothing written, neither there nor where the command ran. */
async function expectRefusal(args: readonly string[], message: RegExp): Promise<void> {
  const before = await readdir(folder);
  const result = await run(...args);
  expect(result.stderr).toMatch(message);
  expect(result).toMatchObject({ code: 2, stdout: '' });
  expect(result.stderr).not.toMatch(/\n\s+at /);
  expect(await readdir(join(home, 'extractors')).catch(() => [])).toEqual([]);
  expect((await readdir(folder)).filter((name) => name !== 'home')).toEqual(before.filter((name) => name !== 'home'));
}

describe('importing weights that are not the published ones', () => {
  it.each([
    ['must_be_refused_zip.pth', /asks for "posix\.mkdir".*nothing was executed/],
    ['must_be_refused_legacy.pth', /asks for "posix\.mkdir".*nothing was executed/],
    ['tiny_zip.pth', /not the weights of the FID Inception network: it misses Conv2d_1a_3x3/],
    ['case.json', /is a JSON text/],
    ['wide.pool3.npy', /is a NumPy array/],
    ['gone.pth', /does not exist/],
  ])('ends with what it is: %s', (name, message) =>
    expectRefusal(['import', 'inception', join(GOLDEN, name)], message),
  );

  it('ends with what it is: an error page', async () => {
    const page = await file('page.pth', '<!DOCTYPE html><title>404</title>');
    await expectRefusal(['import', 'inception', page], /InvalidInput: The weights file is a web page/);
  });

  it('ends with what it is: a folder', () => expectRefusal(['import', 'inception', folder], /not a file/));

  it('ends with both digests when the network is the right one, unless another name is asked for', async () => {
    const weights = await file('pt_inception-2015-12-05-6726825d.pth', stateDictFile(formulaWeights()));
    await expectRefusal(['import', 'inception', weights], /not the published ones: their sha256 begins with/);
    await expectRefusal(
      ['import', 'inception', weights, '--allow-unpublished', 'fid'],
      /cannot be called that: FID is the distance of one published network/,
    );
    const imported = await run('import', 'inception', weights, '--allow-unpublished', 'formula', '--output', 'json');
    expect(imported.code).toBe(0);
    expect(JSON.parse(imported.stdout)).toMatchObject({
      name: 'formula',
      origin: 'imported',
      fid: false,
      features: 2048,
    });
    const list = await run('list');
    expect(list.stdout).toMatch(/^cifar10-resnet +bundled +[0-9a-f]{16} +128 features, spatial, 10 classes\n/);
    expect(list.stdout).toMatch(/\nformula +imported +[0-9a-f]{16} +2048 features, spatial, 1008 classes\n$/);
    expect(list.stdout).not.toMatch(/fid/i);
    await rm(join(home, 'extractors', 'formula'), { recursive: true });
    await rm(weights);
  });
});

describe('the command', () => {
  it('lists the bundled extractors as a JSON array', async () => {
    const { code, stdout } = await run('list', '--output', 'json');
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toEqual([
      expect.objectContaining({ name: 'cifar10-resnet', origin: 'bundled', fid: false }),
    ]);
  });

  it('imports a folder, and refuses one without an extractor', async () => {
    const zoo = join(packageRoot(), 'models', 'zoo', 'cifar10-resnet');
    await expectRefusal(['import', 'onnx', zoo], /a bundled extractor has this name/);
    await mkdir(join(folder, 'nothing'));
    await expectRefusal(['import', 'onnx', join(folder, 'nothing')], /no such file/);
    const imported = await run('import', 'onnx', zoo, '--name', 'mine');
    expect(imported).toMatchObject({ code: 0 });
    expect(imported.stdout).toMatch(/^mine@[0-9a-f]{8} is in .*mine\nUse it with --extractor mine\.\n$/);
    await rm(join(home, 'extractors', 'mine'), { recursive: true });
  });

  it('refuses mistyped subcommands', async () => {
    const result = await run('import', 'incepton', 'x');
    expect(result.code).toBe(2);
    expect(result.stderr).toMatch(/Did you mean inception\?/);
  });
});
