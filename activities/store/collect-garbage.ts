import { mapConcurrently } from '../images/map-concurrently.js';
import type { Bucket, BucketEntry } from './bucket.js';
import { type KeepRule, Liveness, type LiveRoots } from './liveness.js';
import { pinnedRefs } from './pins.js';
import { nameOf, type StoreInventory, takeInventory } from './store-inventory.js';
import { usedKey } from './store-keys.js';
import { whileSweeping } from './sweep-lock.js';

const DELETERS = 16;

/** Something to delete: an entry as it was listed, and what people call it. */
interface Garbage {
  readonly kind: string;
  readonly entry: BucketEntry;
  /** Of an object. */
  readonly digest?: string;
}

export interface GarbageRow {
  readonly kind: string;
  readonly count: number;
  readonly bytes: number;
}

export interface GarbageReport {
  /** False: nothing was deleted, this is what would be. */
  readonly applied: boolean;
  readonly garbage: readonly GarbageRow[];
  readonly bytes: number;
  /** Used between looking and deleting, so they stay. */
  readonly spared: number;
  readonly kept: { readonly objects: number; readonly bytes: number };
}

export interface CollectOptions extends KeepRule {
  readonly roots: LiveRoots;
  readonly apply: boolean;
}

/**
 * Finds what nothing needs (see liveness.ts) and deletes it when told to: results before the artifacts they name. Everything
 * is looked at again just before it is deleted, so that what a run has begun to use meanwhile stays.
 */
export async function collectGarbage(bucket: Bucket, options: CollectOptions): Promise<GarbageReport> {
  const { roots, apply } = options;
  const inventory = await takeInventory(bucket);
  const finished = [...roots.finished, ...(await pinnedRefs(bucket))];
  const liveness = await Liveness.mark(bucket, inventory, { ...roots, finished }, options);
  const { records, objects } = garbageIn(inventory, liveness);
  const spared = new Set(apply ? await sweep(bucket, records, objects) : []);
  const garbage = rowsOf([...records, ...objects].filter((one) => !spared.has(one)));
  const dead = new Set(objects.filter((one) => !spared.has(one)).map(({ digest }) => digest));
  const kept = [...inventory.objects.values()].filter((entry) => !dead.has(nameOf(entry)));
  return {
    applied: apply,
    garbage,
    bytes: bytesOf(garbage.map(({ bytes }) => bytes)),
    spared: spared.size,
    kept: { objects: kept.length, bytes: bytesOf(kept.map(({ sizeBytes }) => sizeBytes)) },
  };
}

function bytesOf(sizes: readonly number[]): number {
  return sizes.reduce((sum, size) => sum + size, 0);
}

function garbageIn(inventory: StoreInventory, liveness: Liveness): { records: Garbage[]; objects: Garbage[] } {
  const { results, identities, checkpoints, failures, leftovers, objects, used } = inventory;
  const old = (entries: readonly BucketEntry[]) => entries.filter(({ modifiedAt }) => !liveness.isFresh(modifiedAt));
  const abandoned = (entries: readonly BucketEntry[]) => entries.filter((entry) => !liveness.isLiveCheckpoint(entry));
  const dead = results.filter((result) => !liveness.isLiveResult(result));
  const alive = new Set(results.filter((result) => !dead.includes(result)).map(nameOf));
  const as = (kind: string, entries: readonly BucketEntry[]): Garbage[] => entries.map((entry) => ({ kind, entry }));
  const unused = [...used].filter(([digest]) => !objects.has(digest)).map(([, entry]) => entry);
  return {
    records: [
      ...as('results', dead),
      ...as('identities', old(identities.filter((identity) => !alive.has(nameOf(identity))))),
      ...as('checkpoints', abandoned(checkpoints)),
      ...as('failure counts', abandoned(failures)),
      ...as('leftovers', old([...leftovers, ...unused])),
    ],
    objects: [...objects]
      .filter(([digest]) => !liveness.isLiveObject(digest))
      .map(([digest, entry]) => ({ kind: liveness.kinds.get(digest) ?? 'unnamed', entry, digest })),
  };
}

/** Gives what was used meanwhile. Results go first and without the lock: a run that has read one marks what it names. */
async function sweep(bucket: Bucket, records: readonly Garbage[], objects: readonly Garbage[]): Promise<Garbage[]> {
  const spared: Garbage[] = [];
  const remove = async (one: Garbage): Promise<void> => {
    if (await isStillUnused(bucket, one)) await deleteAll(bucket, one);
    else spared.push(one);
  };
  await mapConcurrently(records, DELETERS, remove);
  if (objects.length > 0) await whileSweeping(bucket, () => mapConcurrently(objects, DELETERS, remove));
  return spared;
}

async function isStillUnused(bucket: Bucket, { entry, digest }: Garbage): Promise<boolean> {
  const now = await bucket.head(entry.key);
  if (now !== null && now.modifiedAt > entry.modifiedAt) return false;
  const used = digest === undefined ? null : await bucket.head(usedKey(digest));
  const known = (entry as { usedAt?: number }).usedAt ?? entry.modifiedAt;
  return used === null || used.modifiedAt <= known;
}

async function deleteAll(bucket: Bucket, { entry, digest }: Garbage): Promise<void> {
  await bucket.delete(entry.key);
  if (digest !== undefined) await bucket.delete(usedKey(digest));
}

function rowsOf(garbage: readonly Garbage[]): GarbageRow[] {
  const rows = new Map<string, { count: number; bytes: number }>();
  for (const { kind, entry } of garbage) {
    const { count, bytes } = rows.get(kind) ?? { count: 0, bytes: 0 };
    rows.set(kind, { count: count + 1, bytes: bytes + entry.sizeBytes });
  }
  return [...rows].map(([kind, row]) => ({ kind, ...row })).sort((a, b) => b.bytes - a.bytes);
}
