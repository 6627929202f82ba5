import { type FailureKind, NibbleflowError } from '../contracts/errors.js';
import { collect } from './store/bucket.js';
import type { LocalStore } from './store/local-store.js';
import { failureKey } from './store/store-keys.js';

type Counts = Partial<Record<FailureKind, number>>;

/**
 * How often a stage of one run failed, by kind: a killed worker must not use up the retries of another failure, so the
 * server's attempt number is not enough. Kept in `failures/` of the store, deleted when the stage succeeds.
 */
export class StageFailures {
  constructor(private readonly store: LocalStore) {}

  /** Failures of this stage in this run so far. A record that cannot be read counts as none. */
  async counts(key: string, run: string): Promise<Counts> {
    const chunks = await this.store.records.read(failureKey(key));
    const record = chunks === null ? undefined : parsed(new TextDecoder().decode(await collect(chunks)));
    return record?.run === run ? (record.counts ?? {}) : {};
  }

  /**
   * Counts one more; returns how many of this kind there are now. Infinity when the count cannot be kept (a disk that is
   * full): what is not counted would be tried again and again. 0 when the store does not answer: that passes, and the server
   * counts its own attempts.
   */
  async add(key: string, run: string, kind: FailureKind): Promise<number> {
    if (kind === 'StoreUnavailable') return 0;
    try {
      const counts = await this.counts(key, run);
      const count = (counts[kind] ?? 0) + 1;
      const text = JSON.stringify({ run, counts: { ...counts, [kind]: count } });
      await this.store.records.put(failureKey(key), [new TextEncoder().encode(text)]);
      return count;
    } catch (error) {
      const passes = error instanceof NibbleflowError && error.kind === 'StoreUnavailable';
      return passes ? 0 : Number.POSITIVE_INFINITY;
    }
  }

  async clear(key: string): Promise<void> {
    await this.store.records.delete(failureKey(key));
  }
}

function parsed(text: string): { run?: string; counts?: Counts } | undefined {
  try {
    return JSON.parse(text) as { run?: string; counts?: Counts };
  } catch {
    return undefined;
  }
}
