import { createHash } from 'node:crypto';
import { rm, stat } from 'node:fs/promises';
import { NibbleflowError } from '../../contracts/errors.js';
import { writeTemporary } from './atomic-write.js';
import type { Bucket } from './bucket.js';
import { objectKey, usedKey } from './store-keys.js';
import { untilSwept } from './sweep-lock.js';

/**
 * An object that was written longer ago than this says so when it is used again: objects younger than a day are never
 * collected, so that one which a running stage has just found stays.
 */
export const REUSE_REFRESH_MS = 6 * 3600 * 1000;
/** This process does not say so again for so long. */
const REFRESH_AGAIN_MS = 3600 * 1000;
/** Damaged on the way, or damaged there: the second reading tells. */
const READINGS = 2;

/** Content-addressed artifacts in a bucket that several hosts share. */
export class SharedObjects {
  private readonly refreshedAt = new Map<string, number>();

  constructor(
    private readonly bucket: Bucket,
    private readonly temporaryFolder: string,
  ) {}

  /** True when the bucket has the artifact, whole as far as its size tells. */
  async has({ digest, sizeBytes }: { readonly digest: string; readonly sizeBytes?: number }): Promise<boolean> {
    const found = await this.bucket.head(objectKey(digest));
    if (found === null || (sizeBytes !== undefined && found.sizeBytes !== sizeBytes)) return false;
    if (!(await this.refresh(digest, found.modifiedAt))) return true;
    await untilSwept(this.bucket);
    return (await this.bucket.head(objectKey(digest))) !== null;
  }

  async upload(digest: string, path: string): Promise<void> {
    await this.bucket.putFile(objectKey(digest), path, (await stat(path)).size);
  }

  /**
   * A temporary file with the verified bytes; null when the bucket does not have them. Bytes that are wrong twice are deleted
   * there, so that the stage which makes them is repeated.
   */
  async fetch(digest: string): Promise<string | null> {
    const key = objectKey(digest);
    for (let reading = 1; reading <= READINGS; reading += 1) {
      const read = await this.read(key);
      if (read === null || read.digest === digest) return read?.temporary ?? null;
      await rm(read.temporary, { force: true });
      const there = await this.bucket.head(key);
      if (there !== null && there.sizeBytes !== read.sizeBytes) throw cutShort(this.bucket.url);
    }
    await this.bucket.delete(key);
    return null;
  }

  private async read(key: string): Promise<{ temporary: string; digest: string; sizeBytes: number } | null> {
    const chunks = await this.bucket.read(key);
    if (chunks === null) return null;
    const hash = createHash('sha256');
    let sizeBytes = 0;
    async function* hashed(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
      for await (const chunk of source) {
        hash.update(chunk);
        sizeBytes += chunk.byteLength;
        yield chunk;
      }
    }
    const temporary = await writeTemporary(this.temporaryFolder, hashed(chunks));
    return { temporary, digest: hash.digest('hex'), sizeBytes };
  }

  /** True when the object is old: it was marked as used, unless this process did so a while ago. */
  private async refresh(digest: string, modifiedAt: number): Promise<boolean> {
    const now = Date.now();
    if (now - modifiedAt < REUSE_REFRESH_MS) return false;
    if (now - (this.refreshedAt.get(digest) ?? 0) < REFRESH_AGAIN_MS) return false;
    await this.bucket.put(usedKey(digest), []);
    this.refreshedAt.set(digest, now);
    return true;
  }
}

function cutShort(where: string): NibbleflowError {
  return new NibbleflowError('StoreUnavailable', 'an artifact came from the store in part only', { where });
}
