import { createHash } from 'node:crypto';
import type { ArtifactRef } from '../../contracts/artifact.js';
import { collect } from './bucket.js';
import type { LocalStore } from './local-store.js';
import { checkpointKey } from './store-keys.js';

/**
 * The latest checkpoint of unfinished stages, one record per stage key: a JSON header line with the fingerprint and the
 * digest, then the bytes. One that is damaged or was written for another fingerprint is never resumed from.
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
    await this.store.records.put(checkpointKey(key), [header, ...chunks]);
    return { kind: 'checkpoint', digest, sizeBytes };
  }

  /** The bytes of the last whole checkpoint with this fingerprint, or undefined. */
  async load(key: string, fingerprint: string): Promise<Uint8Array | undefined> {
    const chunks = await this.store.records.read(checkpointKey(key));
    const file = chunks === null ? new Uint8Array() : await collect(chunks);
    const end = file.indexOf(0x0a);
    if (end < 0) return undefined;
    const header = headerOf(file.subarray(0, end));
    if (header?.fingerprint !== fingerprint) return undefined;
    const bytes = file.slice(end + 1);
    return createHash('sha256').update(bytes).digest('hex') === header.digest ? bytes : undefined;
  }

  /** Deletes the checkpoint of a stage that has ended well. */
  async remove(key: string): Promise<void> {
    await this.store.records.delete(checkpointKey(key));
  }
}

function headerOf(line: Uint8Array): { fingerprint?: unknown; digest?: unknown } | undefined {
  try {
    return JSON.parse(new TextDecoder().decode(line)) as { fingerprint?: unknown; digest?: unknown };
  } catch {
    return undefined;
  }
}
