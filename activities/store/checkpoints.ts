import { createHash } from 'node:crypto';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { ArtifactRef } from '../../contracts/artifact.js';
import { atomicWrite } from './atomic-write.js';
import type { LocalStore } from './local-store.js';

/**
 * The latest checkpoint of unfinished stages, one file per stage key: a JSON header line with the fingerprint and the
 * digest, then the bytes. A file that is damaged or was written for another fingerprint is never resumed from.
 */
export class Checkpoints {
  constructor(private readonly store: LocalStore) {}

  /** Replaces the stage's checkpoint (atomic); returns a pointer for heartbeats. Chunks are written without joining them. */
  async save(key: string, fingerprint: string, bytes: Uint8Array | readonly Uint8Array[]): Promise<ArtifactRef> {
    const chunks = bytes instanceof Uint8Array ? [bytes] : bytes;
    const hash = createHash('sha256');
    for (const chunk of chunks) hash.update(chunk);
    const digest = hash.digest('hex');
    const sizeBytes = chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0);
    const header = new TextEncoder().encode(`${JSON.stringify({ fingerprint, digest, sizeBytes })}\n`);
    await atomicWrite(this.path(key), [header, ...chunks]);
    return { kind: 'checkpoint', digest, sizeBytes };
  }

  /** The bytes of the last whole checkpoint with this fingerprint, or undefined. */
  async load(key: string, fingerprint: string): Promise<Uint8Array | undefined> {
    const file = await readFile(this.path(key)).catch(() => undefined);
    const end = file?.indexOf(0x0a) ?? -1;
    if (file === undefined || end < 0) return undefined;
    const header = headerOf(file.subarray(0, end));
    if (header?.fingerprint !== fingerprint) return undefined;
    const bytes = new Uint8Array(file.subarray(end + 1));
    return createHash('sha256').update(bytes).digest('hex') === header.digest ? bytes : undefined;
  }

  /** Deletes the checkpoint of a stage that has ended well. */
  async remove(key: string): Promise<void> {
    await rm(this.path(key), { force: true });
  }

  private path(key: string): string {
    return join(this.store.folder, 'checkpoints', key);
  }
}

function headerOf(line: Uint8Array): { fingerprint?: unknown; digest?: unknown } | undefined {
  try {
    return JSON.parse(new TextDecoder().decode(line)) as { fingerprint?: unknown; digest?: unknown };
  } catch {
    return undefined;
  }
}
