import type { ArtifactRef } from '../../contracts/artifact.js';
import { mapConcurrently } from '../images/map-concurrently.js';
import type { Bucket, BucketEntry } from './bucket.js';
import { refsIn } from './stage-cache.js';

const READERS = 16;

export interface StoredObject extends BucketEntry {
  /** When it was written or last used again. */
  readonly usedAt: number;
}

/** A result or a checkpoint, and the artifacts that it names. */
export interface StoredRecord extends BucketEntry {
  readonly refs: readonly ArtifactRef[];
}

/** Everything that a store holds and that can be collected. */
export interface StoreInventory {
  /** By digest. */
  readonly objects: ReadonlyMap<string, StoredObject>;
  /** Marks of use, by digest. */
  readonly used: ReadonlyMap<string, BucketEntry>;
  readonly results: readonly StoredRecord[];
  readonly identities: readonly BucketEntry[];
  readonly checkpoints: readonly StoredRecord[];
  readonly failures: readonly BucketEntry[];
  /** Temporary files of writers that died, objects that were damaged. */
  readonly leftovers: readonly BucketEntry[];
}

/** Lists a store and reads its results and checkpoints. Objects come last: what a listed result names is among them. */
export async function takeInventory(bucket: Bucket): Promise<StoreInventory> {
  const results = await records(bucket, 'results/', (text) => text);
  // Behind a line that describes it, a checkpoint is a list of artifacts or numbers.
  const checkpoints = await records(bucket, 'checkpoints/', (text) => text.slice(text.indexOf('\n') + 1));
  const listed = await Promise.all(
    ['identities/', 'failures/', 'tmp/', 'corrupted/', 'used/', 'objects/'].map((prefix) => entries(bucket, prefix)),
  );
  const [identities = [], failures = [], temporary = [], corrupted = [], used = [], objects = []] = listed;
  const marks = new Map(used.map((entry) => [nameOf(entry), entry]));
  return {
    objects: new Map(
      objects.map((entry) => {
        const digest = nameOf(entry);
        return [digest, { ...entry, usedAt: Math.max(entry.modifiedAt, marks.get(digest)?.modifiedAt ?? 0) }];
      }),
    ),
    used: marks,
    results,
    identities,
    checkpoints,
    failures,
    leftovers: [...temporary, ...corrupted],
  };
}

/** The last segment of a key. */
export function nameOf({ key }: BucketEntry): string {
  return key.slice(key.lastIndexOf('/') + 1);
}

async function entries(bucket: Bucket, prefix: string): Promise<BucketEntry[]> {
  const found: BucketEntry[] = [];
  for await (const entry of bucket.list(prefix)) found.push(entry);
  return found;
}

async function records(bucket: Bucket, prefix: string, bodyOf: (text: string) => string): Promise<StoredRecord[]> {
  return mapConcurrently(await entries(bucket, prefix), READERS, async (entry) => {
    const chunks = await bucket.read(entry.key);
    const text = chunks === null ? '' : await listText(chunks, bodyOf);
    return { ...entry, refs: refsIn(jsonOf(text)) };
  });
}

/** The body where it may be JSON; of tensors, which may be large, only the first chunk is read. */
async function listText(chunks: AsyncIterable<Uint8Array>, bodyOf: (text: string) => string): Promise<string> {
  const decoder = new TextDecoder();
  let text = '';
  for await (const chunk of chunks) {
    text += decoder.decode(chunk, { stream: true });
    if (!/^[[{]/.test(bodyOf(text))) return '';
  }
  return bodyOf(text);
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
