import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isIntact, MANIFEST_FILE, type OutputFile, publishFolder } from '../../activities/output-folder.js';
import { LocalStore } from '../../activities/store/local-store.js';

let folder: string;
let out: string;
let store: LocalStore;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'nibbleflow-output-'));
  out = join(folder, 'out');
  store = await LocalStore.open(join(folder, 'store'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** Publishes a folder with one model file of this text. */
async function publish(text: string, id = 'attempt'): Promise<void> {
  const ref = await store.put('file', new TextEncoder().encode(text));
  const files: OutputFile[] = [{ path: 'unet/model.onnx', ref }];
  const listed = Object.fromEntries(files.map((file) => [file.path, { digest: file.ref.digest }]));
  await publishFolder(store, out, files, { generator: 'nibbleflow', files: listed }, id);
}

const model = (): Promise<string> => readFile(join(out, 'unet', 'model.onnx'), 'utf8');
const besideOut = async (): Promise<string[]> => (await readdir(folder)).filter((name) => name.startsWith('.out.'));

describe('publishing an output folder', () => {
  it('takes the place of an earlier output and leaves nothing beside it', async () => {
    await publish('first');
    await publish('second', 'another');
    expect(await model()).toBe('second');
    expect(await isIntact(out)).toBe(true);
    expect(await besideOut()).toEqual([]);
  });

  it('refuses a folder with a file of somebody else, beside an earlier output too, and changes nothing', async () => {
    await publish('first');
    await writeFile(join(out, 'unet', 'notes.txt'), 'mine');
    await expect(publish('second')).rejects.toMatchObject({
      kind: 'OutputNotWritable',
      message: expect.stringContaining('unet/notes.txt'),
    });
    expect(await model()).toBe('first');
    expect(await readFile(join(out, 'unet', 'notes.txt'), 'utf8')).toBe('mine');
    expect(await besideOut()).toEqual([]);
  });

  it('finishes what an attempt began that was killed while it wrote', async () => {
    await mkdir(join(folder, '.out.attempt.new', 'unet'), { recursive: true });
    await writeFile(join(folder, '.out.attempt.new', 'unet', 'half.onnx'), 'ha');
    await publish('whole');
    expect((await readdir(out, { recursive: true })).sort()).toEqual([
      MANIFEST_FILE,
      'unet',
      join('unet', 'model.onnx'),
    ]);
    expect(await besideOut()).toEqual([]);
  });

  it('brings back the earlier output that a killed attempt had moved away', async () => {
    await publish('first');
    await writeFile(join(out, 'notes.txt'), 'mine');
    await rename(out, join(folder, '.out.attempt.old'));
    await expect(publish('second')).rejects.toMatchObject({ kind: 'OutputNotWritable' });
    expect(await model()).toBe('first');
    await rm(join(out, 'notes.txt'));
    await rename(out, join(folder, '.out.attempt.old'));
    await publish('second');
    expect(await model()).toBe('second');
    expect(await besideOut()).toEqual([]);
  });

  it('notices a file that was changed', async () => {
    await publish('first');
    await writeFile(join(out, 'unet', 'model.onnx'), 'other');
    expect(await isIntact(out)).toBe(false);
  });
});
