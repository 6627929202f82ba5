import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Bucket, type BucketEntry, collect } from '../../../activities/store/bucket.js';
import { FolderBucket } from '../../../activities/store/folder-bucket.js';
import { openBucket } from '../../../activities/store/open-bucket.js';
import { findS3Server, S3ServerForTests } from '../../s3-server.js';

const binary = await findS3Server();
/** Above the size of one part: two whole parts and a rest. */
const LARGE_BYTES = 2 * 16 * 2 ** 20 + 12_345;

let folder: string;
let server: S3ServerForTests | null = null;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'nibbleflow-bucket-'));
  if (binary === null) return;
  server = await S3ServerForTests.start(binary);
  Object.assign(process.env, server.env);
});
afterAll(async () => {
  await server?.stop();
  await rm(folder, { recursive: true, force: true });
});

const text = (value: string): Uint8Array => new TextEncoder().encode(value);

async function read(bucket: Bucket, key: string): Promise<string | null> {
  const chunks = await bucket.read(key);
  return chunks === null ? null : new TextDecoder().decode(await collect(chunks));
}

async function keys(bucket: Bucket, prefix: string): Promise<string[]> {
  const found: BucketEntry[] = [];
  for await (const entry of bucket.list(prefix)) found.push(entry);
  return found.map(({ key }) => key).sort();
}

const ADAPTERS = [
  { name: 'a folder', open: async (): Promise<Bucket> => new FolderBucket(join(folder, 'shared')), skipped: false },
  {
    name: 'an S3 bucket',
    open: (): Promise<Bucket> => openBucket(server?.url('a/prefix') ?? ''),
    skipped: binary === null,
  },
];

for (const { name, open, skipped } of ADAPTERS) {
  describe.skipIf(skipped)(`${name} as a bucket`, () => {
    let bucket: Bucket;
    beforeAll(async () => {
      bucket = await open();
      await bucket.check();
    });

    it('gives back what was put, replaces it whole, and has nothing after a delete', async () => {
      await bucket.put('results/ab/one.json', [text('first '), text('value')]);
      expect(await read(bucket, 'results/ab/one.json')).toBe('first value');
      await bucket.put('results/ab/one.json', [text('2')]);
      expect(await read(bucket, 'results/ab/one.json')).toBe('2');
      await bucket.delete('results/ab/one.json');
      await bucket.delete('results/ab/one.json');
      expect(await read(bucket, 'results/ab/one.json')).toBeNull();
      expect(await bucket.head('results/ab/one.json')).toBeNull();
    });

    it('tells sizes and ages, also of an empty object', async () => {
      const before = Date.now();
      await bucket.put('used/aa/empty', []);
      const found = await bucket.head('used/aa/empty');
      expect(found).toMatchObject({ key: 'used/aa/empty', sizeBytes: 0 });
      // Whole seconds, and clocks of other hosts.
      expect(Math.abs((found?.modifiedAt ?? 0) - before)).toBeLessThan(60_000);
      await bucket.delete('used/aa/empty');
    });

    it('lists what is below a prefix and nothing beside it', async () => {
      for (const key of ['objects/aa/1', 'objects/bb/2', 'objectsx/3']) await bucket.put(key, [text('x')]);
      expect(await keys(bucket, 'objects/')).toEqual(['objects/aa/1', 'objects/bb/2']);
      expect(await keys(bucket, 'nothing/')).toEqual([]);
    });

    it('lists more objects than fit on one page', { timeout: 120_000 }, async () => {
      const names = Array.from({ length: 1_050 }, (_, index) => `many/${String(index).padStart(4, '0')}`);
      for (let start = 0; start < names.length; start += 50) {
        await Promise.all(names.slice(start, start + 50).map((key) => bucket.put(key, [text('x')])));
      }
      expect(await keys(bucket, 'many/')).toEqual(names);
    });

    it('puts large files and large chunks whole', { timeout: 120_000 }, async () => {
      const bytes = new Uint8Array(LARGE_BYTES).map((_, index) => (index * 31) % 251);
      const path = join(folder, 'large');
      await writeFile(path, bytes);
      await bucket.putFile('objects/cc/file', path, bytes.byteLength);
      await bucket.put('objects/cc/chunks', [
        bytes.subarray(0, 5),
        bytes.subarray(5, 17_000_000),
        bytes.subarray(17_000_000),
      ]);
      for (const key of ['objects/cc/file', 'objects/cc/chunks']) {
        expect((await bucket.head(key))?.sizeBytes).toBe(LARGE_BYTES);
        const found = await collect((await bucket.read(key)) ?? (async function* () {})());
        expect(Buffer.compare(found, bytes)).toBe(0);
      }
    });

    it.each(['../escape', 'objects/../../escape', '/etc/passwd', 'objects//x', 'a\\..\\b', 'objects/.', 'a/\0b'])(
      'refuses the key %j',
      async (key) => {
        await expect(bucket.put(key, [text('x')])).rejects.toMatchObject({ kind: 'Internal' });
        await expect(bucket.read(key)).rejects.toMatchObject({ kind: 'Internal' });
        await expect(bucket.delete(key)).rejects.toMatchObject({ kind: 'Internal' });
      },
    );
  });
}

describe('a folder as a bucket', () => {
  it('lists no links, so that nobody follows them out of it', async () => {
    const root = join(folder, 'linked');
    await mkdir(join(root, 'objects', 'aa'), { recursive: true });
    await mkdir(join(folder, 'elsewhere'));
    await writeFile(join(folder, 'elsewhere', 'precious'), 'x');
    await symlink(join(folder, 'elsewhere'), join(root, 'objects', 'bb'));
    await symlink(join(folder, 'elsewhere', 'precious'), join(root, 'objects', 'aa', 'link'));
    expect(await keys(new FolderBucket(root), 'objects/')).toEqual([]);
  });

  it('leaves nothing of an object that failed half-way', async () => {
    const bucket = new FolderBucket(join(folder, 'failing'));
    await expect(bucket.putFile('objects/aa/x', join(folder, 'not there'))).rejects.toThrow();
    expect(existsSync(join(folder, 'failing', 'objects'))).toBe(false);
    expect(await readdir(join(folder, 'failing', 'tmp'))).toEqual([]);
  });
});

describe.skipIf(binary === null)('an S3 store that cannot be used', () => {
  const wrong = async (change: (url: URL) => void): Promise<Bucket> => {
    const url = new URL(server?.url() ?? '');
    change(url);
    return openBucket(url.href);
  };

  it('keeps nothing of a file that is shorter than was said, least of all zeros', async () => {
    const bucket = await openBucket(server?.url('a/prefix') ?? '');
    const path = join(folder, 'short');
    await writeFile(path, 'short');
    await expect(bucket.putFile('objects/ab/short', path, 9)).rejects.toThrow('ends after 5 bytes');
    expect(await bucket.head('objects/ab/short')).toBeNull();
  });

  it('is refused for good when the bucket does not exist, and says which', async () => {
    const bucket = await wrong((url) => {
      url.hostname = 'no-such-bucket';
    });
    const error = await bucket.check().catch((caught: unknown) => caught);
    expect(error).toMatchObject({ kind: 'StoreRefused' });
    expect((error as Error).message).toMatch(/no-such-bucket at http:\/\/127\.0\.0\.1:\d+\)\n {2}Check the bucket/);
  });

  it('is refused for wrong credentials, of which nothing is told', async () => {
    process.env.AWS_SECRET_ACCESS_KEY = 'a-wrong-secret-key';
    const bucket = await openBucket(server?.url() ?? '');
    const error = (await bucket.check().catch((caught: unknown) => caught)) as Error;
    Object.assign(process.env, server?.env);
    expect(error).toMatchObject({ kind: 'StoreRefused' });
    expect(error.message).toContain('SignatureDoesNotMatch');
    expect(error.message).not.toMatch(/wrong-secret|nibbleflow-test\b/);
  });

  it('is unavailable, which may pass, when nobody answers', async () => {
    const bucket = await wrong((url) => {
      url.searchParams.set('endpoint', 'http://127.0.0.1:1');
    });
    await expect(bucket.head('objects/aa/x')).rejects.toMatchObject({ kind: 'StoreUnavailable' });
  });
});
