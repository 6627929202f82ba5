import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { publishFolder } from '../../../activities/output-folder.js';
import { digestFolder } from '../../../activities/store/folder-digest.js';
import { LocalStore } from '../../../activities/store/local-store.js';
import { StageCache } from '../../../activities/store/stage-cache.js';
import { loadManifest } from '../../../activities/stored-pipeline.js';
import { isRelativePath } from '../../../contracts/relative-path.js';

/** Folders, manifests and references that somebody else made must not reach what is not theirs. */

let root: string;
let store: LocalStore;
let pipeline: string;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'nibbleflow-escape-'));
  store = await LocalStore.open(join(root, 'store'));
  pipeline = join(root, 'pipeline');
  await mkdir(join(pipeline, 'unet'), { recursive: true });
  await writeFile(join(pipeline, 'model_index.json'), '{}');
  await writeFile(join(root, 'secret'), 'precious');
});
afterEach(() => rm(root, { recursive: true, force: true }));

const ESCAPES = ['../secret', 'unet/../../secret', '/etc/passwd', 'C:/x', '..\\secret', 'a//b', './a', '', 'a/\0b'];

describe('paths of manifests', () => {
  it.each(ESCAPES)('are refused when they lead elsewhere: %j', async (path) => {
    expect(isRelativePath(path)).toBe(false);
    const file = await store.put('file', new TextEncoder().encode('planted'));
    const manifest = { schemaVersion: 1, name: 'x', files: [{ path, ref: file }] };
    const ref = await store.putJson('pipeline', manifest);
    await expect(loadManifest(store, ref)).rejects.toMatchObject({ kind: 'MissingArtifact' });
    await new StageCache(store).save('a'.repeat(64), { pipeline: ref });
    expect(await new StageCache(store).load('a'.repeat(64))).toBeUndefined();
    const publishing = publishFolder(store, join(root, 'out'), [{ path, ref: file }], { files: {} }, 'id');
    await expect(publishing).rejects.toThrow('leads out of the output folder');
    expect((await readdir(root)).sort()).toEqual(['pipeline', 'secret', 'store']);
  });

  it('are taken when they do not', () => {
    for (const path of ['model_index.json', 'unet/model.onnx', 'a/..b', 'a/b..c'])
      expect(isRelativePath(path)).toBe(true);
  });
});

describe('links in a pipeline folder', () => {
  it('are refused when they lead out of it', async () => {
    await symlink('../../secret', join(pipeline, 'unet', 'model.onnx_data'));
    await expect(digestFolder(pipeline)).rejects.toMatchObject({ kind: 'InvalidModel' });
    await expect(digestFolder(pipeline)).rejects.toThrow(
      /a link leads out of the pipeline folder \(.*model\.onnx_data\)/,
    );
  });

  it('are refused when a folder beside it only begins with its name', async () => {
    await mkdir(`${pipeline}-private`);
    await writeFile(join(`${pipeline}-private`, 'key'), 'precious');
    await symlink(join(`${pipeline}-private`, 'key'), join(pipeline, 'key'));
    await expect(digestFolder(pipeline)).rejects.toMatchObject({ kind: 'InvalidModel' });
  });

  it('are followed within it, also when it is reached through a link itself', async () => {
    await writeFile(join(pipeline, 'weights'), 'w');
    await symlink('../weights', join(pipeline, 'unet', 'model.onnx'));
    await symlink(pipeline, join(root, 'linked'));
    for (const folder of [pipeline, join(root, 'linked')]) {
      expect((await digestFolder(folder)).files.map(({ path }) => path)).toContain('unet/model.onnx');
    }
  });

  it('are followed to the files of a model cache, and no further', async () => {
    const cache = join(root, 'models--a--b');
    const snapshot = join(cache, 'snapshots', '0123');
    await mkdir(snapshot, { recursive: true });
    await mkdir(join(cache, 'blobs'));
    await writeFile(join(cache, 'blobs', 'abcd'), '{}');
    await symlink('../../blobs/abcd', join(snapshot, 'model_index.json'));
    expect((await digestFolder(snapshot)).files.map(({ path }) => path)).toEqual(['model_index.json']);
    await symlink('../../../secret', join(snapshot, 'secret'));
    await expect(digestFolder(snapshot)).rejects.toMatchObject({ kind: 'InvalidModel' });
  });

  it('of reference pictures are followed anywhere: nothing of them is shipped', async () => {
    await mkdir(join(root, 'pictures'));
    await symlink('../secret', join(root, 'pictures', 'one.png'));
    expect((await digestFolder(join(root, 'pictures'), 'reference')).files).toHaveLength(1);
  });
});
