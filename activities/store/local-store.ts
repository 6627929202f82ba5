import { createHash } from 'node:crypto';
import { constants, createReadStream } from 'node:fs';
import { copyFile, mkdir, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { ArtifactKind, ArtifactRef } from '../../contracts/artifact.js';
import { NibbleflowError } from '../../contracts/errors.js';
import { asDiskError, moveInPlace, writeTemporary } from './atomic-write.js';

/** Temporary files of a writer that died are removed when they are this old. */
const ABANDONED_AFTER_MS = 24 * 3600 * 1000;

/**
 * Content-addressed artifacts in a folder: `objects/<first two>/<sha256>`. Objects are immutable. One whose bytes do not
 * hash to its name is moved to `corrupted/` and counts as missing.
 */
export class LocalStore {
  /** Digest → size and time of the file when its bytes were last hashed by this process. */
  private readonly verified = new Map<string, string>();

  private constructor(readonly folder: string) {}

  /** Opens or creates the store. Throws OutputNotWritable or DiskFull. */
  static async open(folder: string): Promise<LocalStore> {
    const store = new LocalStore(folder);
    try {
      await mkdir(join(folder, 'objects'), { recursive: true });
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
    return this.putStream(kind, createReadStream(path, { highWaterMark: 1 << 20 }) as AsyncIterable<Uint8Array>);
  }

  /** Stores a value as JSON text (keys in the given order: callers that need equal digests build equal objects). */
  async putJson(kind: ArtifactKind, value: unknown): Promise<ArtifactRef> {
    return this.put(kind, new TextEncoder().encode(`${JSON.stringify(value)}\n`));
  }

  /** The bytes, verified against the digest. Throws MissingArtifact. */
  async get(ref: ArtifactRef): Promise<Uint8Array> {
    const path = this.objectPath(ref.digest);
    const bytes = await readFile(path).catch(() => undefined);
    if (bytes === undefined) throw missing(ref);
    if (createHash('sha256').update(bytes).digest('hex') !== ref.digest) {
      await this.moveAside(ref.digest);
      throw missing(ref);
    }
    return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** The JSON value of an artifact; the caller parses it with its schema. */
  async getJson(ref: ArtifactRef): Promise<unknown> {
    return JSON.parse(new TextDecoder().decode(await this.get(ref)));
  }

  /** The verified file of an artifact, to be read only. Throws MissingArtifact. */
  async path(ref: ArtifactRef): Promise<string> {
    if (!(await this.has(ref))) throw missing(ref);
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

  /** True when the object is there and its bytes have its digest; hashed again when the file changed since. */
  async has(ref: Pick<ArtifactRef, 'digest'>): Promise<boolean> {
    const path = this.objectPath(ref.digest);
    const found = await stat(path, { bigint: true }).catch(() => undefined);
    if (found === undefined) return false;
    const state = `${found.size}:${found.mtimeNs}:${found.ino}`;
    if (this.verified.get(ref.digest) === state) return true;
    if ((await digestOfFile(path)) !== ref.digest) {
      await this.moveAside(ref.digest);
      return false;
    }
    this.verified.set(ref.digest, state);
    return true;
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
    return join(this.folder, 'objects', digest.slice(0, 2), digest);
  }

  private async adopt(temporary: string, ref: ArtifactRef): Promise<void> {
    await moveInPlace(temporary, this.objectPath(ref.digest));
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

/** sha256 of a file's bytes, hex. */
export async function digestOfFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk as Uint8Array);
  return hash.digest('hex');
}

function missing(ref: ArtifactRef): NibbleflowError {
  return new NibbleflowError('MissingArtifact', `the ${ref.kind} artifact is not in the store`, {
    where: ref.digest,
    fix: 'Run the same command again: the stage that makes it is repeated.',
  });
}
