import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, truncate, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { asDiskError, atomicWrite } from '../../../activities/store/atomic-write.js';
import { Checkpoints } from '../../../activities/store/checkpoints.js';
import { digestFolder } from '../../../activities/store/folder-digest.js';
import { LocalStore } from '../../../activities/store/local-store.js';
import { StageCache, stageKey } from '../../../activities/store/stage-cache.js';
import { NibbleflowError } from '../../../contracts/errors.js';

let folder: string;
let store: LocalStore;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'nibbleflow-store-'));
  store = await LocalStore.open(folder);
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const objectPath = (digest: string): string => join(folder, 'objects', digest.slice(0, 2), digest);

describe('the local store', () => {
  it('names bytes by their sha256 and gives them back', async () => {
    const ref = await store.put('file', new TextEncoder().encode('abc'));
    expect(ref).toEqual({
      kind: 'file',
      digest: 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad',
      sizeBytes: 3,
    });
    expect(new TextDecoder().decode(await store.get(ref))).toBe('abc');
  });

  it('gives the same reference for a stream, a file and bytes', async () => {
    const bytes = new Uint8Array(300_000).map((_, index) => index % 251);
    const ref = await store.put('graph', bytes);
    const streamed = await store.putStream('graph', [bytes.subarray(0, 7), bytes.subarray(7)]);
    await writeFile(join(folder, 'source'), bytes);
    expect(streamed).toEqual(ref);
    expect(await store.putFile('graph', join(folder, 'source'))).toEqual(ref);
    expect(await readdir(store.temporaryFolder)).toEqual([]);
  });

  it('treats a corrupted object as missing, moves it aside and heals when the bytes are stored again', async () => {
    const bytes = new TextEncoder().encode('precious');
    const ref = await store.put('file', bytes);
    await writeFile(objectPath(ref.digest), 'precioux');
    await expect(store.get(ref)).rejects.toMatchObject({ kind: 'MissingArtifact' });
    expect(await readdir(join(folder, 'corrupted'))).toHaveLength(1);
    await store.put('file', bytes);
    expect(await store.has(ref)).toBe(true);
  });

  it('notices an object that is truncated after it was verified once', async () => {
    const ref = await store.put('file', new Uint8Array(1000));
    expect(await store.has(ref)).toBe(true);
    await truncate(objectPath(ref.digest), 999);
    expect(await store.has(ref)).toBe(false);
  });

  it('leaves nothing when the source of a stream fails', async () => {
    function* failing(): Generator<Uint8Array> {
      yield new Uint8Array(10);
      throw new Error('source broke');
    }
    await expect(store.putStream('file', failing())).rejects.toThrow('source broke');
    expect(await readdir(store.temporaryFolder)).toEqual([]);
    expect(await readdir(join(folder, 'objects'))).toEqual([]);
  });

  it('copies an artifact to a path whole', async () => {
    const ref = await store.put('file', new TextEncoder().encode('model'));
    await store.copyTo(ref, join(folder, 'out', 'unet', 'model.onnx'));
    expect(await readFile(join(folder, 'out', 'unet', 'model.onnx'), 'utf8')).toBe('model');
    expect(await readdir(join(folder, 'out', 'unet'))).toEqual(['model.onnx']);
  });

  it('removes temporary files only when they are a day old', async () => {
    const path = join(store.temporaryFolder, '.old.tmp');
    await writeFile(path, 'x');
    await writeFile(join(store.temporaryFolder, '.new.tmp'), 'x');
    const old = new Date(Date.now() - 25 * 3600 * 1000);
    await utimes(path, old, old);
    await LocalStore.open(folder);
    expect(await readdir(store.temporaryFolder)).toEqual(['.new.tmp']);
  });
});

describe('writing', () => {
  it.skipIf(process.platform !== 'linux')('says DiskFull when the device has no space left', async () => {
    const error = await writeFile('/dev/full', 'x').catch((caught: unknown) => caught);
    expect(asDiskError(error, '/dev/full')).toMatchObject({ kind: 'DiskFull' });
  });

  it('says OutputNotWritable when the place is a file', async () => {
    await writeFile(join(folder, 'file'), '');
    const writing = atomicWrite(join(folder, 'file', 'x'), [new Uint8Array(1)]);
    await expect(writing).rejects.toBeInstanceOf(NibbleflowError);
    await expect(writing).rejects.toMatchObject({ kind: 'OutputNotWritable' });
  });
});

describe('the stage cache', () => {
  const identity = { stage: 'round', version: 1, key: { b: 2, a: [1, null] } };

  it('has one key for equal values, whatever the order of their members', () => {
    expect(stageKey(identity)).toBe(stageKey({ ...identity, key: { a: [1, null], b: 2 } }));
    expect(stageKey(identity)).not.toBe(stageKey({ ...identity, version: 2 }));
    expect(stageKey(identity)).not.toBe(stageKey({ ...identity, key: { a: [1, null], b: 3 } }));
  });

  it('hits only while every artifact of the result exists', async () => {
    const cache = new StageCache(store);
    const ref = await store.put('stats', new Uint8Array([1, 2, 3]));
    await cache.save(stageKey(identity), { stats: ref, summary: 'three' });
    expect(await cache.load(stageKey(identity))).toEqual({ stats: ref, summary: 'three' });
    await rm(objectPath(ref.digest));
    expect(await cache.load(stageKey(identity))).toBeUndefined();
  });

  it('looks inside pipeline manifests', async () => {
    const cache = new StageCache(store);
    const file = await store.put('file', new Uint8Array([9]));
    const manifest = { schemaVersion: 1, name: 'x', files: [{ path: 'unet/model.onnx', ref: file }] };
    await cache.save('a'.repeat(64), { pipeline: await store.putJson('pipeline', manifest) });
    expect(await cache.load('a'.repeat(64))).toBeDefined();
    await writeFile(objectPath(file.digest), new Uint8Array([8]));
    expect(await cache.load('a'.repeat(64))).toBeUndefined();
  });

  it('forgets a result file that is not JSON', async () => {
    const cache = new StageCache(store);
    await cache.save('b'.repeat(64), { fine: true });
    await writeFile(join(folder, 'results', 'bb', `${'b'.repeat(64)}.json`), '{"fine": tr');
    expect(await cache.load('b'.repeat(64))).toBeUndefined();
  });
});

describe('checkpoints', () => {
  it('resume only with the same fingerprint and from whole bytes', async () => {
    const checkpoints = new Checkpoints(store);
    const bytes = new Uint8Array([10, 10, 13, 0, 255]);
    await checkpoints.save('k', 'print', bytes);
    expect(await checkpoints.load('k', 'print')).toEqual(bytes);
    expect(await checkpoints.load('k', 'other')).toBeUndefined();
    const path = join(folder, 'checkpoints', 'k');
    await truncate(path, (await stat(path)).size - 1);
    expect(await checkpoints.load('k', 'print')).toBeUndefined();
  });

  it('may be named after anything', async () => {
    const checkpoints = new Checkpoints(store);
    await checkpoints.save('k.float pictures/8.0', 'print', new Uint8Array([7]));
    expect(await checkpoints.load('k.float pictures/8.0', 'print')).toEqual(new Uint8Array([7]));
    expect(await readdir(join(folder, 'checkpoints'))).toEqual(['k.float-pictures-8.0']);
  });

  it('are gone after removal', async () => {
    const checkpoints = new Checkpoints(store);
    await checkpoints.save('k', 'print', new Uint8Array(3));
    await checkpoints.remove('k');
    expect(await checkpoints.load('k', 'print')).toBeUndefined();
  });
});

describe('the digest of a folder', () => {
  it('depends on paths and bytes, not on hidden files or times', async () => {
    const pipeline = join(folder, 'pipeline');
    await atomicWrite(join(pipeline, 'unet', 'model.onnx'), [new Uint8Array([1])]);
    await atomicWrite(join(pipeline, 'model_index.json'), [new Uint8Array([2])]);
    const first = await digestFolder(pipeline);
    await writeFile(join(pipeline, '.DS_Store'), 'x');
    await utimes(join(pipeline, 'model_index.json'), new Date(0), new Date(0));
    expect((await digestFolder(pipeline)).digest).toBe(first.digest);
    expect(first.files.map((file) => file.path)).toEqual(['model_index.json', 'unet/model.onnx']);
    await writeFile(join(pipeline, 'unet', 'model.onnx'), new Uint8Array([3]));
    expect((await digestFolder(pipeline)).digest).not.toBe(first.digest);
  });

  it('that cannot be had names the file, whose it is and what to do', async () => {
    const pictures = join(folder, 'pictures');
    await mkdir(pictures);
    await symlink(join(folder, 'nowhere.png'), join(pictures, 'broken.png'));
    await expect(digestFolder(pictures, 'reference')).rejects.toMatchObject({
      kind: 'InvalidInput',
      message: expect.stringMatching(/cannot read a file of the reference: ENOENT/),
      where: join(pictures, 'broken.png'),
      fix: expect.stringMatching(/broken link/),
    });
    await expect(digestFolder(pictures)).rejects.toMatchObject({
      kind: 'InvalidModel',
      message: expect.stringMatching(/a file of the pipeline/),
    });
    await expect(digestFolder(join(folder, 'none'), 'reference')).rejects.toMatchObject({
      kind: 'InvalidInput',
      where: join(folder, 'none'),
    });
  });
});
