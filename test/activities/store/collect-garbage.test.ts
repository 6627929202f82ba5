import { mkdir, mkdtemp, readdir, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Bucket } from '../../../activities/store/bucket.js';
import { Checkpoints } from '../../../activities/store/checkpoints.js';
import { type CollectOptions, collectGarbage, type GarbageReport } from '../../../activities/store/collect-garbage.js';
import type { LiveRoots } from '../../../activities/store/liveness.js';
import { LocalStore } from '../../../activities/store/local-store.js';
import { openBucket } from '../../../activities/store/open-bucket.js';
import { pin, unpin } from '../../../activities/store/pins.js';
import { StageCache } from '../../../activities/store/stage-cache.js';
import { whileSweeping } from '../../../activities/store/sweep-lock.js';
import type { ArtifactKind, ArtifactRef } from '../../../contracts/artifact.js';
import { findS3Server, S3ServerForTests } from '../../s3-server.js';

const binary = await findS3Server();
const DAY_MS = 24 * 3600 * 1000;
const NOTHING: LiveRoots = { running: [], finished: [], runningSince: Number.POSITIVE_INFINITY };

let folder: string;
let store: LocalStore;
let made = 0;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'nibbleflow-gc-'));
  store = await LocalStore.open(folder);
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** A new artifact: bytes that no other has. */
async function artifact(kind: ArtifactKind = 'parameters'): Promise<ArtifactRef> {
  made += 1;
  return store.put(kind, new TextEncoder().encode(`artifact ${made}`));
}

const keyOf = (letter: string): string => letter.repeat(64);

/** Days pass for everything in the store. */
async function age(days: number): Promise<void> {
  const then = new Date(Date.now() - days * DAY_MS);
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) await utimes(join(entry.parentPath, entry.name), then, then);
  }
}

function collect(options: Partial<CollectOptions> = {}): Promise<GarbageReport> {
  return collectGarbage(store.files, { roots: NOTHING, keepDays: 30, now: Date.now(), apply: true, ...options });
}

async function left(...refs: ArtifactRef[]): Promise<boolean[]> {
  return Promise.all(
    refs.map(async ({ digest }) => (await store.files.head(`objects/${digest.slice(0, 2)}/${digest}`)) !== null),
  );
}

describe('collecting garbage', () => {
  it('deletes nothing unless told to, and tells what it would delete by kind', async () => {
    const [dead, other] = [await artifact('graph'), await artifact('graph')];
    await new StageCache(store).save(keyOf('a'), { graph: dead, also: other });
    await age(31);
    const report = await collect({ apply: false });
    expect(report).toMatchObject({ applied: false, spared: 0, kept: { objects: 0, bytes: 0 } });
    expect(report.garbage).toContainEqual({ kind: 'graph', count: 2, bytes: dead.sizeBytes + other.sizeBytes });
    expect(report.garbage).toContainEqual({ kind: 'results', count: 1, bytes: expect.any(Number) });
    expect(await left(dead, other)).toEqual([true, true]);
    expect(await collect()).toMatchObject({ applied: true, garbage: report.garbage, bytes: report.bytes });
    expect(await left(dead, other)).toEqual([false, false]);
    expect(await new StageCache(store).load(keyOf('a'))).toBeUndefined();
    expect((await collect()).garbage).toEqual([]);
  });

  it('keeps all that is younger than a day, named or not', async () => {
    const ref = await artifact();
    await new Checkpoints(store).save('k', 'k', new Uint8Array(3));
    await age(0.9);
    expect((await collect({ keepDays: 0 })).garbage).toEqual([]);
    expect(await left(ref)).toEqual([true]);
  });

  it('keeps what results of the last days name, and the lists in it, to the end', async () => {
    const file = await artifact('file');
    const manifest = { schemaVersion: 1, name: 'x', files: [{ path: 'unet/model.onnx', ref: file }] };
    const pipeline = await store.putJson('pipeline', manifest);
    const list = await store.putJson('shards', [pipeline]);
    await new StageCache(store).save(keyOf('a'), { list });
    const dead = await artifact();
    await age(20);
    await collect();
    expect(await left(file, pipeline, list, dead)).toEqual([true, true, true, false]);
    await age(31);
    await collect();
    expect(await left(file, pipeline, list)).toEqual([false, false, false]);
  });

  it('keeps for no longer than it is asked to', async () => {
    const refs = [await artifact(), await artifact('block-data')];
    await new StageCache(store).save(keyOf('a'), { refs });
    await age(2);
    await collect({ keepDays: 3 });
    expect(await left(...refs)).toEqual([true, true]);
    await collect({ keepDays: 0 });
    expect(await left(...refs)).toEqual([false, false]);
  });

  it('keeps what runs name, however old it is', async () => {
    const refs = [await artifact(), await artifact(), await artifact()];
    const [running, finished, dead] = refs as [ArtifactRef, ArtifactRef, ArtifactRef];
    await new StageCache(store).save(keyOf('a'), { running });
    await new StageCache(store).save(keyOf('b'), { running, dead });
    await age(400);
    await collect({ roots: { ...NOTHING, running: [running], finished: [finished] } });
    expect(await left(...refs)).toEqual([true, true, false]);
    // A result that can still be used is; one that cannot is not there to mislead.
    expect(await new StageCache(store).load(keyOf('a'))).toEqual({ running });
    expect(await store.files.head(`results/bb/${keyOf('b')}.json`)).toBeNull();
  });

  it('keeps pinned runs until they are unpinned', async () => {
    const ref = await artifact();
    const run = { workflowId: 'quantize/x/y/1', runId: 'r', pinnedAt: new Date().toISOString() };
    await pin(store.files, { ...run, refs: [ref] });
    await age(400);
    await collect();
    expect(await left(ref)).toEqual([true]);
    expect(await unpin(store.files, run.workflowId)).toBe(true);
    expect(await unpin(store.files, run.workflowId)).toBe(false);
    await collect();
    expect(await left(ref)).toEqual([false]);
  });

  it('keeps block data for days alone, and for ever only while a run goes on', async () => {
    const [block, other] = [await artifact('block-data'), await artifact()];
    await new StageCache(store).save(keyOf('a'), { block });
    await new StageCache(store).save(keyOf('b'), { other });
    await age(4);
    await collect({ roots: { ...NOTHING, running: [block], finished: [] } });
    expect(await left(block)).toEqual([true]);
    await collect({ roots: { ...NOTHING, running: [], finished: [block] } });
    expect(await left(block, other)).toEqual([false, true]);
    expect(await store.files.head(`results/aa/${keyOf('a')}.json`)).toBeNull();
  });

  it('keeps what checkpoints of unfinished stages list, and collects the checkpoints of abandoned ones', async () => {
    const block = await artifact('block-data');
    await new Checkpoints(store).save('unfinished', 'k', new TextEncoder().encode(JSON.stringify([block])));
    await new Checkpoints(store).save('tensors', 'k', new Uint8Array(100_000).fill(0x7b));
    await age(10);
    expect((await collect()).garbage).toEqual([]);
    expect(await left(block)).toEqual([true]);
    await age(31);
    expect((await collect()).garbage.map(({ kind, count }) => [kind, count])).toEqual([
      ['checkpoints', 2],
      ['unnamed', 1],
    ]);
    expect(await left(block)).toEqual([false]);
  });

  it('keeps checkpoints that a run may have written which still goes on, as a paused one does', async () => {
    const block = await artifact('block-data');
    await new Checkpoints(store).save('paused', 'k', new TextEncoder().encode(JSON.stringify([block])));
    await age(40);
    const daysAgo = (days: number): LiveRoots => ({ ...NOTHING, runningSince: Date.now() - days * DAY_MS });
    expect((await collect({ roots: daysAgo(41), keepDays: 0 })).garbage).toEqual([]);
    expect(await left(block)).toEqual([true]);
    const { garbage } = await collect({ roots: daysAgo(39), keepDays: 0 });
    expect(garbage.map(({ kind }) => kind).sort()).toEqual(['checkpoints', 'unnamed']);
  });

  it('collects damaged objects and what killed writers left, and nothing that links lead to', async () => {
    await writeFile(join(store.temporaryFolder, '.half.tmp'), 'half');
    await mkdir(join(folder, 'corrupted'));
    await writeFile(join(folder, 'corrupted', 'x.1'), 'damaged');
    const precious = await mkdtemp(join(tmpdir(), 'nibbleflow-precious-'));
    await writeFile(join(precious, keyOf('e')), 'precious');
    await age(2);
    await utimes(join(precious, keyOf('e')), new Date(0), new Date(0));
    await symlink(precious, join(folder, 'objects', 'ee'));
    await symlink(precious, join(folder, 'corrupted', 'linked'));
    const { garbage } = await collect();
    expect(garbage).toEqual([{ kind: 'leftovers', count: 2, bytes: 11 }]);
    expect(await readdir(precious)).toEqual([keyOf('e')]);
    await rm(precious, { recursive: true });
  });

  it('fails, and deletes nothing, when a pin cannot be read', async () => {
    const ref = await artifact();
    await store.files.put('pins/damaged.json', [new TextEncoder().encode('{')]);
    await age(400);
    await expect(collect()).rejects.toThrow();
    expect(await left(ref)).toEqual([true]);
  });
});

describe('a run that starts while garbage is collected', () => {
  /** Does something when everything was looked at and nothing is deleted yet: before the sweep looks again, or locks. */
  function meanwhile(bucket: Bucket, action: () => Promise<void>): Bucket {
    let done = false;
    const once = async (): Promise<void> => {
      if (done) return;
      done = true;
      await action();
    };
    const head: Bucket['head'] = async (key) => {
      await once();
      return bucket.head(key);
    };
    const put: Bucket['put'] = async (key, chunks) => {
      await once();
      await bucket.put(key, chunks);
    };
    return Object.create(bucket, { head: { value: head }, put: { value: put } }) as Bucket;
  }

  it('keeps the old results that it finds, with all that they name', async () => {
    const file = await artifact('file');
    const manifest = { schemaVersion: 1, name: 'x', files: [{ path: 'unet/model.onnx', ref: file }] };
    const pipeline = await store.putJson('pipeline', manifest);
    const dead = await artifact();
    await new StageCache(store).save(keyOf('a'), { pipeline });
    await age(400);
    const another = await LocalStore.open(folder);
    const bucket = meanwhile(store.files, async () => {
      expect(await new StageCache(another).load(keyOf('a'))).toEqual({ pipeline });
    });
    const report = await collectGarbage(bucket, { roots: NOTHING, keepDays: 30, now: Date.now(), apply: true });
    expect(report.spared).toBe(3);
    expect(await left(file, pipeline, dead)).toEqual([true, true, false]);
    expect(await new StageCache(store).load(keyOf('a'))).toEqual({ pipeline });
  });

  it('keeps what it stores again', async () => {
    const bytes = new TextEncoder().encode('stored again');
    const ref = await store.put('file', bytes);
    await age(400);
    const another = await LocalStore.open(folder);
    const bucket = meanwhile(store.files, async () => {
      await another.put('file', bytes);
    });
    await collectGarbage(bucket, { roots: NOTHING, keepDays: 30, now: Date.now(), apply: true });
    expect(await left(ref)).toEqual([true]);
  });

  /** Collects everything, and does something when the sweep has looked at an object for the last time, before it is deleted. */
  async function beforeDeletion<T>(
    action: () => Promise<T>,
    prepare: () => Promise<void> = async () => undefined,
  ): Promise<T | undefined> {
    let found: Promise<T> | undefined;
    const remove: Bucket['delete'] = async (key) => {
      if (key.startsWith('objects/')) {
        await prepare();
        found = action();
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      await store.files.delete(key);
    };
    const bucket = Object.create(store.files, { delete: { value: remove } }) as Bucket;
    await collectGarbage(bucket, { roots: NOTHING, keepDays: 30, now: Date.now(), apply: true });
    return found;
  }

  it('does not rely on an object that is being deleted: it waits, and finds that it is gone', async () => {
    const ref = await artifact();
    await new StageCache(store).save(keyOf('a'), { ref });
    await age(400);
    const another = await LocalStore.open(folder);
    expect(await beforeDeletion(() => another.has(ref))).toBe(false);
    expect(await left(ref)).toEqual([false]);
  });

  it('waits for every sweep, not for the first that ends', async () => {
    const ref = await artifact();
    await age(400);
    const another = await LocalStore.open(folder);
    const otherSweep = (): Promise<void> => whileSweeping(store.files, async () => undefined);
    expect(await beforeDeletion(() => another.has(ref), otherSweep)).toBe(false);
    expect(await left(ref)).toEqual([false]);
  });

  it('has what it stores again as a stream when the sweep is over', async () => {
    const bytes = new TextEncoder().encode('streamed again');
    const ref = await store.put('file', bytes);
    await age(400);
    const another = await LocalStore.open(folder);
    expect(await beforeDeletion(() => another.putStream('file', [bytes]))).toEqual(ref);
    expect(await left(ref)).toEqual([true]);
    expect(await readdir(store.temporaryFolder)).toEqual([]);
  });
});

describe.skipIf(binary === null)('garbage of a shared store', () => {
  let server: S3ServerForTests;
  beforeAll(async () => {
    server = await S3ServerForTests.start(binary ?? '');
    Object.assign(process.env, server.env);
  });
  afterAll(() => server.stop());

  it('is told from what was used lately, though objects there are never written twice', async () => {
    const bucket = await openBucket(server.url('shared'));
    const here = await LocalStore.open(join(folder, 'here'), bucket);
    const used = await here.put('file', new TextEncoder().encode('used'));
    const dead = await here.put('file', new TextEncoder().encode('dead'));
    await new StageCache(here).save(keyOf('a'), { used });
    await new StageCache(here).save(keyOf('b'), { dead });
    // Nobody can turn back an S3 server's clock: the collection looks from the future, where one was used again.
    const later = Date.now() + 31 * DAY_MS;
    const aged: Bucket = Object.create(bucket, {
      head: {
        value: async (key: string) => {
          const found = await bucket.head(key);
          return found && key.startsWith('used/') ? { ...found, modifiedAt: later } : found;
        },
      },
      list: {
        value: async function* (prefix: string) {
          for await (const entry of bucket.list(prefix)) {
            yield prefix === 'used/' ? { ...entry, modifiedAt: later } : entry;
          }
        },
      },
    });
    await bucket.put(`used/${used.digest.slice(0, 2)}/${used.digest}`, []);
    const options = { roots: NOTHING, keepDays: 30, now: later, apply: true };
    const report = await collectGarbage(aged, options);
    expect(report.garbage.map(({ kind, count }) => [kind, count]).sort()).toEqual([
      ['file', 1],
      ['results', 1],
    ]);
    const there = await LocalStore.open(join(folder, 'there'), bucket);
    expect(await there.has(used)).toBe(true);
    expect(await there.has(dead)).toBe(false);
  });
});
