import type { GarbageRow } from './collect-garbage.js';
import type { LocalStore } from './local-store.js';
import { REUSE_REFRESH_MS } from './shared-objects.js';
import { nameOf } from './store-inventory.js';
import { objectKey } from './store-keys.js';

/** A copy says that it is used when it is older than the half of this. */
const UNUSED_MS = 2 * REUSE_REFRESH_MS;

/**
 * Copies of a shared store's artifacts that this host did not use for half a day: they come back when they are needed.
 * Nothing is deleted unless `apply` says so, and nothing that the shared store does not have. null without a shared store.
 */
export async function dropCache(store: LocalStore, apply: boolean): Promise<GarbageRow | null> {
  if (store.bucket === null) return null;
  let count = 0;
  let bytes = 0;
  for await (const entry of store.files.list('objects/')) {
    if (Date.now() - entry.modifiedAt < UNUSED_MS) continue;
    const shared = await store.bucket.head(objectKey(nameOf(entry)));
    if (shared?.sizeBytes !== entry.sizeBytes) continue;
    if (apply) await store.files.delete(entry.key);
    count += 1;
    bytes += entry.sizeBytes;
  }
  return { kind: 'cached copies', count, bytes };
}
