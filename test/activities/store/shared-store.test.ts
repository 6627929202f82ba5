import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { StageFailures } from '../../../activities/stage-failures.js';
import type { Bucket } from '../../../activities/store/bucket.js';
import { Checkpoints } from '../../../activities/store/checkpoints.js';
import { dropCache } from '../../../activities/store/drop-cache.js';
import { FolderBucket } from '../../../activities/store/folder-bucket.js';
import { LocalStore } from '../../../activities/store/local-store.js';
import { openBucket } from '../../../activities/store/open-bucket.js';
import { StageCache } from '../../../activities/store/stage-cache.js';
import type { ArtifactRef } from '../../../contracts/artifact.js';
import { findS3Server, S3ServerForTests } from '../../s3-server.js';

const binary = await findS3Server();
const KEY = 'c'.repeat(64);
const DAY_MS = 24 * 3600 * 1000;

let root: string;
let server: S3ServerForTests | null = null;
let prefixes = 0;

beforeAll(async () => {
  if (binary === null) return;
  server = await S3ServerForTests.start(binary);
  Object.assign(process.env, server.env);
});
afterAll(() => server?.stop());
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'nibbleflow-shared-'));
});
afterEach(() => rm(root, { recursive: true, force: true }));

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

const ADAPTERS = [
  { name: 'a folder', skipped: false, open: async (): Promise<Bucket> => new FolderBucket(join(root, 'shared')) },
  {
    name: 'S3',
    skipped: binary === null,
    open: (): Promise<Bucket> => {
      prefixes += 1;
      return openBucket(server?.url(`prefix-${prefixes}`) ?? '');
    },
  },
];

for (const { name, skipped, open } of ADAPTERS) {
  describe.skipIf(skipped)(`two hosts that share ${name}`, () => {
    let bucket: Bucket;
    let here: LocalStore;
    let there: LocalStore;
    beforeEach(async () => {
      bucket = await open();
      here = await LocalStore.open(join(root, 'here'), bucket);
      there = await LocalStore.open(join(root, 'there'), bucket);
    });

    const objectPath = (store: LocalStore, { digest }: ArtifactRef): string =>
      join(store.folder, 'objects', digest.slice(0, 2), digest);
    const objectKey = ({ digest }: ArtifactRef): string => `objects/${digest.slice(0, 2)}/${digest}`;

    it('see each other’s artifacts, whichever way they were stored', async () => {
      const put = await here.put('file', bytes('put'));
      const streamed = await here.putStream('file', [bytes('str'), bytes('eamed')]);
      await writeFile(join(root, 'a-file'), 'from a file');
      const copied = await here.putFile('file', join(root, 'a-file'));
      expect(new TextDecoder().decode(await there.get(put))).toBe('put');
      expect(await there.has(streamed)).toBe(true);
      await there.copyTo(copied, join(root, 'out', 'copy'));
      expect(createHash('sha256').update('from a file').digest('hex')).toBe(copied.digest);
      expect(await readdir(join(root, 'out'))).toEqual(['copy']);
      expect(await readdir(there.temporaryFolder)).toEqual([]);
    });

    it('keep what was fetched: the second reading asks nobody', async () => {
      const ref = await here.put('file', bytes('cached'));
      await there.get(ref);
      await bucket.delete(objectKey(ref));
      expect(new TextDecoder().decode(await there.get(ref))).toBe('cached');
    });

    it('fetch an artifact once when many activities want it at the same time', async () => {
      const ref = await here.put('file', bytes('wanted by many'));
      let reads = 0;
      const counting: Bucket = Object.create(bucket, {
        read: {
          value: (key: string) => {
            reads += 1;
            return bucket.read(key);
          },
        },
      });
      const third = await LocalStore.open(join(root, 'third'), counting);
      await Promise.all(Array.from({ length: 8 }, () => third.path(ref)));
      expect(reads).toBe(1);
    });

    it('put an artifact back that the shared store lost', async () => {
      const ref = await here.put('file', bytes('lost'));
      await bucket.delete(objectKey(ref));
      expect(await there.has(ref)).toBe(false);
      expect(await here.has(ref)).toBe(true);
      expect(new TextDecoder().decode(await there.get(ref))).toBe('lost');
    });

    it('take damaged bytes for missing ones, in the shared store and in the cache', async () => {
      const ref = await here.put('file', bytes('right'));
      await bucket.put(objectKey(ref), [bytes('wrong')]);
      await expect(there.get(ref)).rejects.toMatchObject({ kind: 'MissingArtifact' });
      expect(await readdir(there.temporaryFolder)).toEqual([]);
      expect(await bucket.head(objectKey(ref))).toBeNull();
      expect(await here.has(ref)).toBe(true);
      await there.get(ref);
      await writeFile(objectPath(there, ref), 'wrong');
      expect(new TextDecoder().decode(await there.get(ref))).toBe('right');
    });

    it('take a result whose list is damaged in the shared store for a missing one', async () => {
      const list = await here.putJson('shards', [await here.put('features', bytes('numbers'))]);
      await new StageCache(here).save(KEY, { list });
      await bucket.put(objectKey(list), [new Uint8Array(list.sizeBytes)]);
      expect(await new StageCache(there).load(KEY)).toBeUndefined();
      expect(await bucket.head(objectKey(list))).toBeNull();
    });

    it('drop copies that were not used for half a day, and none that is used or nowhere else', async () => {
      const refs = [await here.put('file', bytes('idle')), await here.put('file', bytes('used'))];
      const [idle, used] = refs as [ArtifactRef, ArtifactRef];
      const alone = await here.put('file', bytes('alone'));
      await bucket.delete(objectKey(alone));
      const yesterday = new Date(Date.now() - DAY_MS);
      for (const ref of [idle, used, alone]) await utimes(objectPath(here, ref), yesterday, yesterday);
      // As a stage does that began long ago and opens the file again and again.
      await here.path(used);
      expect(await dropCache(here, true)).toMatchObject({ count: 1, bytes: idle.sizeBytes });
      expect([idle, used, alone].map((ref) => existsSync(objectPath(here, ref)))).toEqual([false, true, true]);
      expect(new TextDecoder().decode(await here.get(idle))).toBe('idle');
    });

    it('share results, checkpoints and counts of failures', async () => {
      const result = { stats: await here.put('stats', bytes('numbers')), summary: 'numbers' };
      await new StageCache(here).save(KEY, result);
      expect(await new StageCache(there).load(KEY)).toEqual(result);
      await new Checkpoints(here).save(KEY, 'print', [bytes('step '), bytes('41')]);
      expect(await new Checkpoints(there).load(KEY, 'print')).toEqual(bytes('step 41'));
      await new StageFailures(here).add(KEY, 'run', 'OutOfMemory');
      expect(await new StageFailures(there).add(KEY, 'run', 'OutOfMemory')).toBe(2);
      await new Checkpoints(there).remove(KEY);
      expect(await new Checkpoints(here).load(KEY, 'print')).toBeUndefined();
    });

    it('forget a result whose artifact is nowhere any more', async () => {
      const stats = await here.put('stats', bytes('numbers'));
      await new StageCache(here).save(KEY, { stats });
      await bucket.delete(objectKey(stats));
      expect(await new StageCache(there).load(KEY)).toBeUndefined();
    });
  });
}

it('says that an artifact was used again, in the cache and in the shared store', async () => {
  const shared = join(root, 'shared');
  const bucket = new FolderBucket(shared);
  const store = await LocalStore.open(join(root, 'here'), bucket);
  const ref = await store.put('file', bytes('old'));
  const old = new Date(Date.now() - 2 * DAY_MS);
  const key = `${ref.digest.slice(0, 2)}/${ref.digest}`;
  for (const folder of [store.folder, shared]) await utimes(join(folder, 'objects', key), old, old);
  await store.put('file', bytes('old'));
  const used = await bucket.head(`used/${key}`);
  const cached = await new FolderBucket(store.folder).head(`objects/${key}`);
  for (const found of [used, cached]) expect(Date.now() - (found?.modifiedAt ?? 0)).toBeLessThan(DAY_MS);
});

describe.skipIf(binary === null)('a shared store that is away for a while', () => {
  it('is an error that passes, and nothing counts as stored meanwhile', { timeout: 120_000 }, async () => {
    const bucket = await openBucket(server?.url('outage') ?? '');
    const store = await LocalStore.open(join(root, 'here'), bucket);
    await server?.pause();
    await expect(store.put('file', bytes('during'))).rejects.toMatchObject({ kind: 'StoreUnavailable' });
    await expect(new StageCache(store).load(KEY)).rejects.toMatchObject({ kind: 'StoreUnavailable' });
    expect(await new StageFailures(store).add(KEY, 'run', 'StoreUnavailable')).toBe(0);
    expect(await new StageFailures(store).add(KEY, 'run', 'Stalled')).toBe(0);
    await server?.resume();
    const ref = await store.put('file', bytes('during'));
    const other = await LocalStore.open(join(root, 'there'), bucket);
    expect(new TextDecoder().decode(await other.get(ref))).toBe('during');
  });
});

describe('references that travelled through a server', () => {
  it.each(['../../../etc/passwd', '/etc/passwd', `${'a'.repeat(63)}/`, ''])(
    'never lead out of the store: %j',
    async (digest) => {
      const store = await LocalStore.open(join(root, 'here'));
      const ref: ArtifactRef = { kind: 'file', digest, sizeBytes: 1 };
      await expect(store.get(ref)).rejects.toMatchObject({ kind: 'MissingArtifact' });
      await expect(store.path(ref)).rejects.toMatchObject({ kind: 'MissingArtifact' });
      await expect(store.has(ref)).rejects.toMatchObject({ kind: 'MissingArtifact' });
    },
  );
});
