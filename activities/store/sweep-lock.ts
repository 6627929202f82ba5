import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Bucket } from './bucket.js';

/**
 * Says that objects are being deleted; each sweep has its own, so that the first of two that ends does not free what the other
 * still deletes. Empty, and where files lie already: it can be made on a disk that is full.
 */
const FOLDER = 'tmp/';
const LOCK = `${FOLDER}sweeping.`;
const RENEW_MS = 30_000;
/** A sweep that was killed does not hold anybody up for longer. */
const STALE_MS = 5 * 60_000;
const POLL_MS = 500;

/**
 * Runs a sweep under the lock. Whoever wants to use an old object marks it as used first and then waits for the lock: either
 * the sweep, which looks again after it has taken the lock, sees the mark, or the waiting one sees that the object is gone.
 */
export async function whileSweeping<T>(bucket: Bucket, sweep: () => Promise<T>): Promise<T> {
  const key = `${LOCK}${randomUUID()}`;
  const renew = (): Promise<void> => bucket.put(key, []);
  await renew();
  const timer = setInterval(() => void renew().catch(() => undefined), RENEW_MS);
  try {
    return await sweep();
  } finally {
    clearInterval(timer);
    await bucket.delete(key);
  }
}

/** Resolves when nothing is being deleted. */
export async function untilSwept(bucket: Bucket): Promise<void> {
  while (await isSwept(bucket)) await sleep(POLL_MS);
}

async function isSwept(bucket: Bucket): Promise<boolean> {
  for await (const { key, modifiedAt } of bucket.list(FOLDER)) {
    if (key.startsWith(LOCK) && Date.now() - modifiedAt <= STALE_MS) return true;
  }
  return false;
}
