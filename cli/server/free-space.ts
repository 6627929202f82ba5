import { collectGarbage } from '../../activities/store/collect-garbage.js';
import { dropCache } from '../../activities/store/drop-cache.js';
import type { LocalStore } from '../../activities/store/local-store.js';
import type { Config } from '../../contracts/config.js';
import { liveRoots } from '../live-roots.js';
import { connectionSettings, openClient } from './connection.js';

/**
 * What a worker does about a full disk: with a shared store it drops copies that it can fetch again, otherwise it does what
 * `nibbleflow gc --apply` does. Throws ServerUnavailable, with nothing deleted, when nobody can say what runs need.
 */
export async function freeSpace(
  store: LocalStore,
  { keepDays, keepRuns }: Config['store'],
  target: { readonly address: string; readonly namespace: string },
): Promise<void> {
  if ((await dropCache(store, true)) !== null) return;
  const { options } = await connectionSettings();
  const { client, connection } = await openClient(target, options);
  try {
    const roots = await liveRoots(client, { lastRuns: keepRuns, keep: [] });
    await collectGarbage(store.files, { roots, keepDays, now: Date.now(), apply: true });
  } finally {
    await connection.close();
  }
}
