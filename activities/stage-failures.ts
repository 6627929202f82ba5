import { type FailureKind, NibbleflowError } from '../contracts/errors.js';
import { collect } from './store/bucket.js';
import type { LocalStore } from './store/local-store.js';
import { failureKey } from './store/store-keys.js';

type Counts = Partial<Record<FailureKind, number>>;

interface Failed {
  readonly run: string;
  readonly counts: Counts;
  /** An attempt has begun and has not told how it ended. */
  readonly isOpen: boolean;
}

/**
 * How often a stage of one run failed, by kind: a killed worker must not use up the retries of another failure, so the
 * server's attempt number is not enough. Kept in `failures/` of the store, deleted when the stage succeeds.
 */
export class StageFailures {
  constructor(private readonly store: LocalStore) {}

  /** Failures of this stage in this run so far. A record that cannot be read counts as none. */
  async counts(key: string, run: string): Promise<Counts> {
    return (await this.read(key, run)).counts;
  }

  /**
   * Notes that an attempt begins. When the one before it never told how it ended, its worker was killed or lost, and that is
   * counted. What cannot be noted is not.
   */
  async begin(key: string, run: string): Promise<Counts> {
    const { counts, isOpen } = await this.read(key, run);
    const now = isOpen ? { ...counts, WorkerLost: (counts.WorkerLost ?? 0) + 1 } : counts;
    await this.write(key, { run, counts: now, isOpen: true }).catch(() => undefined);
    return now;
  }

  /** Notes that the attempt was stopped from outside: nothing is counted. */
  async stopped(key: string, run: string): Promise<void> {
    const { counts } = await this.read(key, run);
    await this.write(key, { run, counts, isOpen: false }).catch(() => undefined);
  }

  /**
   * Counts one more; returns how many of this kind there are now. Infinity when the count cannot be kept (a disk that is
   * full): what is not counted would be tried again and again. 0 when the store does not answer: that passes, and the server
   * counts its own attempts.
   */
  async add(key: string, run: string, kind: FailureKind): Promise<number> {
    if (kind === 'StoreUnavailable') return 0;
    try {
      const { counts } = await this.read(key, run);
      const count = (counts[kind] ?? 0) + 1;
      await this.write(key, { run, counts: { ...counts, [kind]: count }, isOpen: false });
      return count;
    } catch (error) {
      const passes = error instanceof NibbleflowError && error.kind === 'StoreUnavailable';
      return passes ? 0 : Number.POSITIVE_INFINITY;
    }
  }

  async clear(key: string, run: string): Promise<void> {
    await this.store.records.delete(failureKey(key, run));
  }

  private async read(key: string, run: string): Promise<Failed> {
    const chunks = await this.store.records.read(failureKey(key, run));
    const record = chunks === null ? undefined : parsed(new TextDecoder().decode(await collect(chunks)));
    const isOurs = record?.run === run;
    return { run, counts: (isOurs && record.counts) || {}, isOpen: isOurs && record.isOpen === true };
  }

  private async write(key: string, failed: Failed): Promise<void> {
    await this.store.records.put(failureKey(key, failed.run), [new TextEncoder().encode(JSON.stringify(failed))]);
  }
}

function parsed(text: string): Partial<Failed> | undefined {
  try {
    return JSON.parse(text) as Partial<Failed>;
  } catch {
    return undefined;
  }
}
