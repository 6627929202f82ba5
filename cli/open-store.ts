import { LocalStore } from '../activities/store/local-store.js';
import { openBucket } from '../activities/store/open-bucket.js';
import { parseStoreUrl } from '../activities/store/store-url.js';
import type { LoadedConfig } from './load-config.js';

/** The settings that say where artifacts are. */
export type StoreSettings = Pick<LoadedConfig, 'storeDir' | 'storeUrl'>;

/** Opens the store of the settings; the shared one is not asked yet. Throws OutputNotWritable, DiskFull, InvalidInput or StoreRefused. */
export async function openStore({ storeDir, storeUrl }: StoreSettings): Promise<LocalStore> {
  return LocalStore.open(storeDir, storeUrl === null ? null : await openBucket(storeUrl));
}

/** Fails before a server is started, not in its worker. Asks nobody. Throws InvalidInput. */
export function checkStoreUrl({ storeUrl }: StoreSettings): void {
  if (storeUrl !== null) parseStoreUrl(storeUrl);
}

/** Fails before a run is started, not in its first stage. Throws StoreUnavailable or StoreRefused. */
export async function checkStore({ storeUrl }: StoreSettings): Promise<void> {
  if (storeUrl !== null) await (await openBucket(storeUrl)).check();
}
