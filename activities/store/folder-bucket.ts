import { lstat, mkdir, open, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { asDiskError, atomicWrite } from './atomic-write.js';
import type { Bucket, BucketEntry } from './bucket.js';
import { fileChunks } from './file-chunks.js';
import { keySegments } from './store-keys.js';

const READ_BYTES = 1 << 20;

/** A folder as a bucket: of this machine, or of a drive that several mount. */
export class FolderBucket implements Bucket {
  readonly url: string;

  constructor(private readonly folder: string) {
    this.url = folder;
  }

  async check(): Promise<void> {
    await mkdir(this.folder, { recursive: true }).catch((error: unknown) => {
      throw asDiskError(error, join(this.folder, 'objects'));
    });
  }

  async head(key: string): Promise<BucketEntry | null> {
    const found = await stat(this.path(key)).catch(nothing);
    return found?.isFile() ? { key, sizeBytes: found.size, modifiedAt: found.mtimeMs } : null;
  }

  async read(key: string): Promise<AsyncIterable<Uint8Array> | null> {
    const file = await open(this.path(key), 'r').catch(nothing);
    return file === undefined ? null : file.createReadStream({ highWaterMark: READ_BYTES });
  }

  async put(key: string, chunks: readonly Uint8Array[]): Promise<void> {
    await this.write(key, chunks);
  }

  async putFile(key: string, path: string): Promise<void> {
    await this.write(key, fileChunks(path));
  }

  async *list(prefix: string): AsyncGenerator<BucketEntry> {
    const segments = keySegments(prefix.replace(/\/$/, ''));
    yield* this.below(join(this.folder, ...segments), segments.join('/'));
  }

  async delete(key: string): Promise<void> {
    await rm(this.path(key), { force: true });
  }

  private async write(key: string, chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>): Promise<void> {
    await atomicWrite(this.path(key), chunks, join(this.folder, 'tmp'));
  }

  /** Links are no objects: what they point to may lie outside. */
  private async *below(folder: string, prefix: string): AsyncGenerator<BucketEntry> {
    for (const entry of await readdir(folder, { withFileTypes: true }).catch(() => [])) {
      const path = join(folder, entry.name);
      const key = `${prefix}/${entry.name}`;
      if (entry.isDirectory()) yield* this.below(path, key);
      const found = entry.isFile() ? await lstat(path).catch(nothing) : undefined;
      if (found !== undefined) yield { key, sizeBytes: found.size, modifiedAt: found.mtimeMs };
    }
  }

  private path(key: string): string {
    return join(this.folder, ...keySegments(key));
  }
}

function nothing(error: NodeJS.ErrnoException): undefined {
  if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined;
  throw error;
}
