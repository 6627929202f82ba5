import { cp, mkdir, mkdtemp, readdir, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create, toBinary } from '@bufbuild/protobuf';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { packageRoot } from '../../cli/package-root.js';
import {
  ModelProtoSchema,
  TensorProto_DataLocation,
  TensorProto_DataType,
  TensorProtoSchema,
} from '../../models/onnx/onnx_pb.js';
import { runCli, runCliWithoutPrivileges, spawnCli } from './run-cli.js';

const PIPELINE = join(packageRoot(), 'models', 'zoo', 'emoji-t2i');
let folder: string;
let home: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'nibbleflow-bad-'));
  home = join(folder, 'home');
  await writeFile(join(folder, 'recipe.yaml'), 'name: mine\n');
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** One clear message, the documented exit code, nothing on stdout, no stack, and no server was started. */
async function expectRefusal(args: readonly string[], code: number, message: RegExp, env = {}): Promise<void> {
  const result = await runCli(args, { NIBBLEFLOW_HOME: home, ...env });
  expect(result.stderr).toMatch(message);
  expect(result).toMatchObject({ code, stdout: '' });
  expect(result.stderr).not.toMatch(/\n\s+at /);
  expect(await readdir(join(home, 'run')).catch(() => [])).not.toContain('services-local.json');
}

const quantize = (pipeline: string, ...rest: string[]): string[] => [
  ...['quantize', pipeline, '--recipe', join(folder, 'recipe.yaml')],
  ...rest,
];

/** A denoiser of one tensor, which lies in another file. */
function modelWithExternalData(location: string): Uint8Array {
  const weight = create(TensorProtoSchema, {
    name: 'weight',
    dataType: TensorProto_DataType.FLOAT,
    dims: [4n],
    dataLocation: TensorProto_DataLocation.EXTERNAL,
    externalData: [{ key: 'location', value: location }],
  });
  const model = create(ModelProtoSchema, {
    irVersion: 8n,
    opsetImport: [{ domain: '', version: 17n }],
    graph: { name: 'external', initializer: [weight] },
  });
  return toBinary(ModelProtoSchema, model);
}

async function copyOfPipeline(name: string): Promise<string> {
  const copy = join(folder, name);
  await cp(PIPELINE, copy, { recursive: true });
  return copy;
}

describe('bad input ends with one message and the documented exit code', () => {
  it('a missing folder', () => expectRefusal(quantize(join(folder, 'gone')), 2, /does not exist.*gone/));

  it('a file instead of a folder', () =>
    expectRefusal(quantize(join(folder, 'recipe.yaml')), 2, /not a folder[\s\S]*model_index\.json/));

  it('a folder without model_index.json', async () => {
    await mkdir(join(folder, 'empty'));
    await expectRefusal(quantize(join(folder, 'empty')), 2, /no model_index\.json/);
  });

  it('a model_index.json that is not JSON', async () => {
    const copy = await copyOfPipeline('not-json');
    await writeFile(join(copy, 'model_index.json'), '{"_class_name": ');
    await expectRefusal(quantize(copy), 2, /InvalidModel.*model_index\.json/);
  });

  it('a truncated model', async () => {
    const copy = await copyOfPipeline('truncated');
    await truncate(join(copy, 'unet', 'model.onnx'), 100_000);
    await expectRefusal(quantize(copy), 2, /InvalidModel[\s\S]*unet\/model\.onnx/);
  });

  it('a file that is not ONNX', async () => {
    const copy = await copyOfPipeline('not-onnx');
    await writeFile(join(copy, 'unet', 'model.onnx'), 'PK this is a zip file, not a model');
    await expectRefusal(quantize(copy), 2, /InvalidModel[\s\S]*unet\/model\.onnx/);
  });

  it('external data outside the folder, before anything is read from there', async () => {
    const copy = await copyOfPipeline('escaping');
    await writeFile(join(copy, 'unet', 'model.onnx'), modelWithExternalData('../../recipe.yaml'));
    await expectRefusal(
      quantize(copy),
      2,
      /InvalidModel.*"\.\.\/\.\.\/recipe\.yaml" leaves the folder[\s\S]*unet\/model\.onnx/,
    );
  });

  it('external data that is missing', async () => {
    const copy = await copyOfPipeline('missing-data');
    await writeFile(join(copy, 'unet', 'model.onnx'), modelWithExternalData('gone.bin'));
    await expectRefusal(quantize(copy), 2, /InvalidModel[\s\S]*gone\.bin/);
  });

  it('a broken link in the folder', async () => {
    const copy = await copyOfPipeline('broken-link');
    await symlink(join(folder, 'nowhere'), join(copy, 'unet', 'weights.bin'));
    await expectRefusal(quantize(copy), 2, /InvalidModel[\s\S]*weights\.bin/);
  });

  it('an unknown recipe key, with the nearest one', async () => {
    await writeFile(join(folder, 'typo.yaml'), 'weights: { bit: 4 }\n');
    const args = ['quantize', PIPELINE, '--recipe', join(folder, 'typo.yaml')];
    await expectRefusal(args, 2, /did you mean weights\.bits\?/);
  });

  it('an unknown setting, with the nearest one', () =>
    expectRefusal(quantize(PIPELINE, '--set', 'evaluation.sample=4'), 2, /did you mean evaluation\.samples\?/));

  it('impossible bits', () => expectRefusal(quantize(PIPELINE, '--set', 'weights.bits=1'), 2, /weights\.bits/));

  it('an unknown device', () => expectRefusal(quantize(PIPELINE, '--device', 'webgp'), 2, /Did you mean webgpu\?/));

  it('a number of threads that is none', () => expectRefusal(quantize(PIPELINE, '--threads', 'many'), 2, /threads/));

  it.each(['runs', 'up', 'config check', 'config path'])('a store URL with a key in it: %s', async (command) => {
    const env = { NIBBLEFLOW_HOME: home, NIBBLEFLOW_STORE: 's3://name:swordfish@bucket' };
    await expectRefusal(command.split(' '), 2, /credentials do not belong in the URL/, env);
    expect((await runCli(command.split(' '), env)).stderr).not.toMatch(/swordfish/);
  });

  it('an output below a file', () =>
    expectRefusal(quantize(PIPELINE, '--out', join(folder, 'recipe.yaml', 'out')), 3, /OutputNotWritable/));

  it('an output where nobody may write', async () => {
    const locked = join(folder, 'locked');
    await mkdir(locked, { mode: 0o555 });
    const args = quantize(PIPELINE, '--out', join(locked, 'out'));
    const result = await runCliWithoutPrivileges(args, { NIBBLEFLOW_HOME: home });
    expect(result).toMatchObject({ code: 3, stdout: '' });
    expect(result.stderr).toMatch(/OutputNotWritable.*no permission to write in .*locked/);
    expect(await readdir(locked)).toEqual([]);
  });

  it('an output folder with other files in it, which stay', async () => {
    const theirs = join(folder, 'theirs');
    await mkdir(theirs);
    await writeFile(join(theirs, 'thesis.txt'), 'mine');
    await expectRefusal(quantize(PIPELINE, '--out', theirs), 3, /OutputNotWritable.*did not write.*theirs/);
    expect(await readdir(theirs)).toEqual(['thesis.txt']);
  });

  it('an output inside the pipeline', () =>
    expectRefusal(quantize(PIPELINE, '--out', join(PIPELINE, 'out')), 2, /lies in the pipeline/));

  it('a mistyped command and a mistyped option', async () => {
    await expectRefusal(['quantise'], 2, /Did you mean quantize\?/);
    await expectRefusal(quantize(PIPELINE, '--recipies', 'x'), 2, /unknown option/);
  });

  it('a Temporal address that nobody answers, within ten seconds', async () => {
    const startedAt = Date.now();
    const env = { TEMPORAL_ADDRESS: '127.0.0.1:1' };
    await expectRefusal(quantize(PIPELINE), 3, /no Temporal server answers[\s\S]*127\.0\.0\.1:1/, env);
    expect(Date.now() - startedAt).toBeLessThan(15_000);
  });

  it('a profile that does not exist', () =>
    expectRefusal(['runs'], 2, /lab/, { TEMPORAL_PROFILE: 'lab', TEMPORAL_CONFIG_FILE: join(folder, 'no.toml') }));

  it('a TEMPORAL_CLI_PATH that is wrong', () =>
    expectRefusal(quantize(PIPELINE), 3, /TEMPORAL_CLI_PATH/, { TEMPORAL_CLI_PATH: join(folder, 'gone') }));

  it('shows the stack only with --debug', async () => {
    const { stderr } = await runCli([...quantize(join(folder, 'gone')), '--debug'], { NIBBLEFLOW_HOME: home });
    expect(stderr).toMatch(/\n\s+at /);
  });
});

it('a reader that has read enough is no failure', async () => {
  const child = spawnCli(['doctor', '--output', 'jsonl'], { NIBBLEFLOW_HOME: home });
  let stderr = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  child.stdout?.destroy();
  const code = await new Promise((resolve) => child.once('close', resolve));
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
});
