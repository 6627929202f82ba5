import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { packageVersion } from '../../activities/package-file.js';
import { canonicalJson } from '../../contracts/canonical-json.js';
import { type FailureKind, NibbleflowError } from '../../contracts/errors.js';
import type { LoadedConfig } from '../load-config.js';
import { packageRoot } from '../package-root.js';
import type { ProcessRef } from './processes.js';

/** What runs for one connection: kept in `run/` of the state folder by the supervisor, read by every command. */
export interface ServiceRecord {
  readonly version: 1;
  readonly state: 'starting' | 'ready' | 'failed';
  readonly supervisor: ProcessRef;
  /** null when the server is not ours. */
  readonly server: ProcessRef | null;
  readonly worker: ProcessRef | null;
  readonly address: string;
  readonly namespace: string;
  readonly uiUrl: string | null;
  /** Which build of nibbleflow the worker runs, and with which of the settings that a worker keeps. */
  readonly build: string;
  /** A worker that is stopped ends within this. */
  readonly graceSeconds?: number;
  readonly failure: { readonly kind: FailureKind; readonly message: string } | null;
}

/** Files of the state folder that belong to running processes. */
export class RunFolder {
  constructor(readonly stateDir: string) {}

  get folder(): string {
    return join(this.stateDir, 'run');
  }

  log(name: 'server' | 'worker' | 'supervisor'): string {
    return join(this.stateDir, 'logs', `${name}.log`);
  }

  /** Makes the folders; a state folder that was not there is for its owner alone. Throws OutputNotWritable. */
  prepare(): void {
    try {
      mkdirSync(dirname(this.stateDir), { recursive: true });
      if (!existsSync(this.stateDir)) mkdirSync(this.stateDir, { recursive: true, mode: 0o700 });
      mkdirSync(this.clientsFolder, { recursive: true });
      mkdirSync(join(this.stateDir, 'logs'), { recursive: true });
    } catch (error) {
      throw new NibbleflowError('OutputNotWritable', 'the state folder cannot be written', {
        where: this.stateDir,
        fix: 'Check its permissions, or set NIBBLEFLOW_HOME to another folder.',
        cause: error,
      });
    }
  }

  get clientsFolder(): string {
    return join(this.folder, 'clients');
  }

  read(name: string): ServiceRecord | undefined {
    const file = this.file(name);
    if (!existsSync(file)) return undefined;
    try {
      const record = JSON.parse(readFileSync(file, 'utf8')) as ServiceRecord;
      return record.version === 1 ? record : undefined;
    } catch {
      return undefined;
    }
  }

  write(name: string, record: ServiceRecord): void {
    const file = this.file(name);
    writeFileSync(`${file}.${process.pid}.tmp`, JSON.stringify(record));
    renameSync(`${file}.${process.pid}.tmp`, file);
  }

  remove(name: string): void {
    rmSync(this.file(name), { force: true });
  }

  /** Names of all records. */
  names(): string[] {
    if (!existsSync(this.folder)) return [];
    return readdirSync(this.folder)
      .filter((file) => file.startsWith('services-') && file.endsWith('.json'))
      .map((file) => file.slice('services-'.length, -'.json'.length));
  }

  private file(name: string): string {
    return join(this.folder, `services-${name}.json`);
  }
}

/** Records are per connection: our own server is `local`, a configured one is named by its address and namespace. */
export function recordName(configured: { address: string; namespace: string } | null): string {
  if (configured === null) return 'local';
  return createHash('sha256').update(`${configured.address}/${configured.namespace}`).digest('hex').slice(0, 8);
}

type WorkerSettings = Pick<LoadedConfig, 'config' | 'storeDir' | 'storeUrl'>;

/**
 * Changes whenever the compiled code or the worker's settings (task queues, store) change, so that a worker of an older
 * build, or one that serves other queues, is replaced.
 */
export function buildId({ config, storeDir, storeUrl }: WorkerSettings): string {
  const hash = createHash('sha256').update(packageVersion());
  hash.update(canonicalJson([config.taskQueues, config.offline, storeDir, storeUrl]));
  for (const file of compiledFiles(join(packageRoot(), 'dist'))) hash.update(`${file}:${statSync(file).mtimeMs}`);
  return hash.digest('hex').slice(0, 16);
}

function compiledFiles(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true })
    .flatMap((entry) => {
      const path = join(folder, entry.name);
      return entry.isDirectory() ? compiledFiles(path) : entry.name.endsWith('.js') ? [path] : [];
    })
    .sort();
}
