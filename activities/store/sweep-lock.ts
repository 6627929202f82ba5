import { setTimeout as sleep } from 'node:timers/promises';
import type { Bucket } from './bucket.js';

/** Says that objects are being deleted. Empty, and where files lie already: it can be made on a disk that is full. */
const KEY = 'tmp/sweeping';
const RENEW_MS = 30_000;
/** A sweep that was killed does not hold anybody up for longer. */
const STALE_MS = 5 * 60_000;
const POLL_MS = 500;

/**
 * Runs a sweep under the lock. Whoever wants to use an old object marks it as used first and then waits for the lock: either
 * the sweep, which looks again after it has taken the lock, sees the mark, or the waiting one sees that the object is gone.
 */
export async function whileSweeping<T>(bucket: Bucket, sweep: () => Promise<T>): Promise<T> {
  const renew = (): Promise<void> => bucket.put(KEY, []);
  await renew();
  const timer = setInterval(() => void renew().catch(() => undefined), RENEW_MS);
  try {
    return await sweep();
  } finally {
    clearInterval(timer);
    await bucket.delete(KEY);
  }
}

/** Resolves when nothing is being deleted. */
export async function untilSwept(bucket: Bucket): Promise<void> {
  for (;;) {
    const lock = await bucket.head(KEY);
    if (lock === null || Date.now() - lock.modifiedAt > STALE_MS) return;
    await sleep(POLL_MS);
  }
}
