import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { copyFile, mkdir, readdir, readFile, rename, rm, stat, utimes } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { ArtifactKind, ArtifactRef } from '../../contracts/artifact.js';
import { NibbleflowError } from '../../contracts/errors.js';
import { asDiskError, moveInPlace, writeTemporary } from './atomic-write.js';
import type { Bucket } from './bucket.js';
import { fileChunks } from './file-chunks.js';
import { FolderBucket } from './folder-bucket.js';
import { REUSE_REFRESH_MS, SharedObjects } from './shared-objects.js';
import { objectKey } from './store-keys.js';
import { untilSwept } from './sweep-lock.js';

/** Temporary files of a writer that died are removed when they are this old. */
const ABANDONED_AFTER_MS = 24 * 3600 * 1000;

/**
 * Content-addressed artifacts in a folder: `objects/<first two>/<sha256>`. Objects are immutable. One whose bytes do not
 * hash to its name is moved to `corrupted/` and counts as missing. With a bucket the folder is a cache: every artifact is in
 * the bucket before its reference is given out, and is fetched from there where the folder does not have it.
 */
export class LocalStore {
  /** Digest → size and time of the file when its bytes were last hashed by this process. */
  private readonly verified = new Map<string, string>();

  /** Downloads under way: activities that start together want the same pipeline. */
  private readonly fetching = new Map<string, Promise<boolean>>();
  private readonly shared: SharedObjects | null;
  /** The folder, by keys. */
  readonly files: Bucket;
  /** Results, checkpoints and failure counts by key: in the bucket where there is one, so that every host sees them. */
  readonly records: Bucket;

  private constructor(
    readonly folder: string,
    readonly bucket: Bucket | null,
  ) {
    this.shared = bucket && new SharedObjects(bucket, this.temporaryFolder);
    this.files = new FolderBucket(folder);
    this.records = bucket ?? this.files;
  }

  /**
   * Opens or creates the store; a bucket is not asked yet. Throws OutputNotWritable or DiskFull. The methods that follow also
   * throw StoreUnavailable and StoreRefused when there is a bucket.
   */
  static async open(folder: string, bucket: Bucket | null = null): Promise<LocalStore> {
    const store = new LocalStore(folder, bucket);
    try {
      // Folders that were not there are their owner's alone: artifacts hold prompts and pictures.
      await mkdir(join(folder, 'objects'), { recursive: true, mode: 0o700 });
      await mkdir(store.temporaryFolder, { recursive: true });
    } catch (error) {
      throw asDiskError(error, join(folder, 'objects'));
    }
    await store.removeAbandoned();
    return store;
  }

  /** Stores bytes. Storing the same bytes twice gives the same reference and writes once. */
  async put(kind: ArtifactKind, bytes: Uint8Array): Promise<ArtifactRef> {
    const digest = createHash('sha256').update(bytes).digest('hex');
    const ref = { kind, digest, sizeBytes: bytes.byteLength };
    if (await this.has(ref)) return ref;
    const temporary = await writeTemporary(this.temporaryFolder, [bytes]);
    await this.adopt(temporary, ref);
    return ref;
  }

  /** Stores chunks as they come, in constant memory. */
  async putStream(kind: ArtifactKind, chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>): Promise<ArtifactRef> {
    const hash = createHash('sha256');
    let sizeBytes = 0;
    async function* hashed(): AsyncGenerator<Uint8Array> {
      for await (const chunk of chunks) {
        hash.update(chunk);
        sizeBytes += chunk.byteLength;
        yield chunk;
      }
    }
    const temporary = await writeTemporary(this.temporaryFolder, hashed());
    const ref = { kind, digest: hash.digest('hex'), sizeBytes };
    await this.adopt(temporary, ref);
    return ref;
  }

  /** Stores a copy of a file. */
  async putFile(kind: ArtifactKind, path: string): Promise<ArtifactRef> {
    return this.putStream(kind, fileChunks(path));
  }

  /** Stores a value as JSON text (keys in the given order: callers that need equal digests build equal objects). */
  async putJson(kind: ArtifactKind, value: unknown): Promise<ArtifactRef> {
    return this.put(kind, new TextEncoder().encode(`${JSON.stringify(value)}\n`));
  }

  /** The bytes, verified against the digest. Throws MissingArtifact. */
  async get(ref: ArtifactRef): Promise<Uint8Array> {
    const bytes = (await this.read(ref)) ?? ((await this.fetch(ref)) ? await this.read(ref) : undefined);
    if (bytes === undefined) throw missing(ref);
    return bytes;
  }

  /** The JSON value of an artifact; the caller parses it with its schema. */
  async getJson(ref: ArtifactRef): Promise<unknown> {
    return JSON.parse(new TextDecoder().decode(await this.get(ref)));
  }

  /** The verified file of an artifact, to be read only. Throws MissingArtifact. */
  async path(ref: ArtifactRef): Promise<string> {
    const isHere = (await this.isHere(ref.digest)) && (await this.refresh(ref.digest));
    if (!isHere && !(await this.fetch(ref))) throw missing(ref);
    return this.objectPath(ref.digest);
  }

  /** Copies an artifact to a path (atomic). Copy-on-write where the file system can. */
  async copyTo(ref: ArtifactRef, path: string): Promise<void> {
    const source = await this.path(ref);
    const temporary = join(dirname(path), `.${ref.digest.slice(0, 12)}.${process.pid}.tmp`);
    try {
      await mkdir(dirname(path), { recursive: true });
      await copyFile(source, temporary, constants.COPYFILE_FICLONE);
    } catch (error) {
      await rm(temporary, { force: true });
      throw asDiskError(error, path);
    }
    await moveInPlace(temporary, path);
  }

  /**
   * True when the artifact can be had: its bytes are here and have its digest (hashed again when the file changed since), or
   * the bucket has it. One that is here alone is put into the bucket. Using an artifact again keeps it from being collected.
   */
  async has(ref: Pick<ArtifactRef, 'digest'> & { readonly sizeBytes?: number }): Promise<boolean> {
    const isHere = (await this.isHere(ref.digest)) && (await this.refresh(ref.digest));
    if (this.shared === null) return isHere;
    if (await this.shared.has(ref)) return true;
    if (isHere) await this.shared.upload(ref.digest, this.objectPath(ref.digest));
    return isHere;
  }

  /** Frees what no run needs: damaged objects and abandoned temporary files. */
  async collectGarbage(): Promise<void> {
    await rm(join(this.folder, 'corrupted'), { recursive: true, force: true });
    await this.removeAbandoned();
  }

  get temporaryFolder(): string {
    return join(this.folder, 'tmp');
  }

  private objectPath(digest: string): string {
    return join(this.folder, ...objectKey(digest).split('/'));
  }

  /** An object that is here already stays, marked as used: a new file in its place would not hold up a sweep that has looked at it. */
  private async adopt(temporary: string, ref: ArtifactRef): Promise<void> {
    if (this.shared === null && (await this.has(ref))) return rm(temporary, { force: true });
    await moveInPlace(temporary, this.objectPath(ref.digest));
    if (this.shared !== null && !(await this.shared.has(ref))) {
      await this.shared.upload(ref.digest, this.objectPath(ref.digest));
    }
  }

  private async read({ digest }: ArtifactRef): Promise<Uint8Array | undefined> {
    const bytes = await readFile(this.objectPath(digest)).catch(() => undefined);
    if (bytes === undefined) return undefined;
    if (createHash('sha256').update(bytes).digest('hex') === digest) {
      return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    }
    await this.moveAside(digest);
    return undefined;
  }

  /** Brings an artifact from the bucket into the folder; false when it is not there either. */
  private fetch(ref: ArtifactRef): Promise<boolean> {
    if (this.shared === null) return Promise.resolve(false);
    const running = this.fetching.get(ref.digest);
    if (running !== undefined) return running;
    const started = this.fetchFrom(this.shared, ref).finally(() => this.fetching.delete(ref.digest));
    this.fetching.set(ref.digest, started);
    return started;
  }

  private async fetchFrom(shared: SharedObjects, ref: ArtifactRef): Promise<boolean> {
    const temporary = await shared.fetch(ref.digest);
    if (temporary === null) return false;
    const path = this.objectPath(ref.digest);
    await moveInPlace(temporary, path);
    const state = await stateOf(path);
    if (state !== undefined) this.verified.set(ref.digest, state);
    return true;
  }

  private async isHere(digest: string): Promise<boolean> {
    const path = this.objectPath(digest);
    const state = await stateOf(path);
    if (state === undefined) return false;
    if (this.verified.get(digest) === state) return true;
    if ((await digestOfFile(path)) !== digest) {
      await this.moveAside(digest);
      return false;
    }
    this.verified.set(digest, state);
    return true;
  }

  /** A file's time is when it was last used: what was used lately is not collected. False when it was just collected. */
  private async refresh(digest: string): Promise<boolean> {
    const path = this.objectPath(digest);
    const found = await stat(path).catch(() => undefined);
    if (found !== undefined && Date.now() - found.mtimeMs < REUSE_REFRESH_MS) return true;
    await utimes(path, new Date(), new Date()).catch(() => undefined);
    await untilSwept(this.files);
    const state = await stateOf(path);
    if (state !== undefined) this.verified.set(digest, state);
    return state !== undefined;
  }

  private async moveAside(digest: string): Promise<void> {
    this.verified.delete(digest);
    const folder = join(this.folder, 'corrupted');
    await mkdir(folder, { recursive: true });
    await rename(this.objectPath(digest), join(folder, `${digest}.${Date.now()}`)).catch(() => undefined);
  }

  private async removeAbandoned(): Promise<void> {
    for (const name of await readdir(this.temporaryFolder)) {
      const path = join(this.temporaryFolder, name);
      const found = await stat(path).catch(() => undefined);
      if (found !== undefined && Date.now() - found.mtimeMs > ABANDONED_AFTER_MS) await rm(path, { force: true });
    }
  }
}

/** Changes whenever a file's bytes do. */
async function stateOf(path: string): Promise<string | undefined> {
  const found = await stat(path, { bigint: true }).catch(() => undefined);
  return found && `${found.size}:${found.mtimeNs}:${found.ino}`;
}

/** sha256 of a file's bytes, hex. */
export async function digestOfFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of fileChunks(path)) hash.update(chunk);
  return hash.digest('hex');
}

function missing(ref: ArtifactRef): NibbleflowError {
  return new NibbleflowError('MissingArtifact', `the ${ref.kind} artifact is not in the store`, {
    where: ref.digest,
    fix: 'Run the same command again: the stage that makes it is repeated.',
  });
}
