import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { FailureKind } from '../contracts/errors.js';
import { atomicWrite } from './store/atomic-write.js';

type Counts = Partial<Record<FailureKind, number>>;

/**
 * How often a stage of one run failed, by kind: a killed worker must not use up the retries of another failure, so the
 * server's attempt number is not enough. Kept in `failures/` of the store, deleted when the stage succeeds.
 */
export class StageFailures {
  constructor(private readonly folder: string) {}

  /** Failures of this stage in this run so far. */
  async counts(key: string, run: string): Promise<Counts> {
    const text = await readFile(this.path(key), 'utf8').catch(() => undefined);
    if (text === undefined) return {};
    const record = JSON.parse(text) as { run?: string; counts?: Counts };
    return record.run === run ? (record.counts ?? {}) : {};
  }

  /**
   * Counts one more; returns how many of this kind there are now. Infinity when the count cannot be kept (a disk that is
   * full): what is not counted would be tried again and again.
   */
  async add(key: string, run: string, kind: FailureKind): Promise<number> {
    const counts = await this.counts(key, run);
    const count = (counts[kind] ?? 0) + 1;
    const text = JSON.stringify({ run, counts: { ...counts, [kind]: count } });
    return atomicWrite(this.path(key), [new TextEncoder().encode(text)]).then(
      () => count,
      () => Number.POSITIVE_INFINITY,
    );
  }

  async clear(key: string): Promise<void> {
    await rm(this.path(key), { force: true });
  }

  private path(key: string): string {
    return join(this.folder, 'failures', `${key}.json`);
  }
}
