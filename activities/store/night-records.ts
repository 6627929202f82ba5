import { NibbleflowError } from '../../contracts/errors.js';
import { type NightRecord, nightRecordSchema } from '../../contracts/night-record.js';
import { collect } from './bucket.js';
import type { LocalStore } from './local-store.js';

/**
 * Records of nights: `nights/<night>/<time it was due>-<run>.json` among the store's records. Only added to; a run that is tried again
 * writes its own again.
 */
export class NightRecords {
  constructor(private readonly store: Pick<LocalStore, 'records'>) {}

  /** Keeps a record (atomic). */
  async save(record: NightRecord): Promise<void> {
    const name = `${nightStamp(record.at)}-${record.runId.slice(0, 8)}.json`;
    const text = new TextEncoder().encode(`${JSON.stringify(record)}\n`);
    await this.store.records.put(`nights/${record.night}/${name}`, [text]);
  }

  /**
   * All records of a night in the order of when they were due; of several of one time the last that started. Files that are no records (of a
   * later version, damaged) are told, not thrown.
   */
  async load(night: string, tell: (what: string) => void = () => undefined): Promise<NightRecord[]> {
    const found = new Map<string, NightRecord>();
    for await (const { key } of this.store.records.list(`nights/${night}/`)) {
      const record = await this.read(key);
      if (record === undefined) {
        tell(`${key} is no record of a night that this version knows: it is left out`);
        continue;
      }
      const other = found.get(record.at);
      if (other === undefined || other.startedAt < record.startedAt) found.set(record.at, record);
    }
    return [...found.values()].sort((a, b) => (a.at < b.at ? -1 : 1));
  }

  /** Names of the nights that have records, sorted. */
  async names(): Promise<string[]> {
    const names = new Set<string>();
    for await (const { key } of this.store.records.list('nights/')) names.add(key.split('/')[1] ?? '');
    return [...names].sort();
  }

  private async read(key: string): Promise<NightRecord | undefined> {
    const chunks = await this.store.records.read(key);
    if (chunks === null) return undefined;
    try {
      return nightRecordSchema.safeParse(JSON.parse(new TextDecoder().decode(await collect(chunks)))).data;
    } catch (error) {
      if (error instanceof NibbleflowError) throw error;
      return undefined;
    }
  }
}

/** An ISO time as a name of files and folders: `20261125T020000Z`. */
export function nightStamp(at: string): string {
  return `${at.slice(0, 19).replaceAll(/[-:]/g, '')}Z`;
}
