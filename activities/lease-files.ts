import {
  linkSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { isRunning, type ProcessRef } from './process-ref.js';

/** Files of device leases: see device-leases.ts. */

/** A lease of another machine that was not renewed for this long is over. */
const STALE_MS = 60_000;

/** Who asks for a lease. */
export interface LeaseOwner {
  /** Workflow id. */
  readonly run: string;
  readonly stage: string;
  readonly attempt: number;
}

/** A lease as it lies in its file. */
export interface LeaseFile extends LeaseOwner {
  readonly device: string;
  readonly token: number;
  readonly host: string;
  readonly worker: ProcessRef;
  /** The engine that computes; null before it was started. */
  readonly engine: ProcessRef | null;
  /** ms epoch. */
  readonly since: number;
  readonly isReleased: boolean;
}

export function leasePath(folder: string, device: string, token: number): string {
  return join(folder, `${device}.${token}.json`);
}

/** Makes the file, whole or not at all; false when there is one. */
export function createLease(folder: string, lease: LeaseFile): boolean {
  const path = leasePath(folder, lease.device, lease.token);
  const temporary = `${path}.${process.pid}.tmp`;
  writeFileSync(temporary, JSON.stringify(lease));
  try {
    linkSync(temporary, path);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST') return false;
    return createWithoutLinks(path, lease);
  } finally {
    rmSync(temporary, { force: true });
  }
}

/** For file systems that have no hard links. */
function createWithoutLinks(path: string, lease: LeaseFile): boolean {
  try {
    writeFileSync(path, JSON.stringify(lease), { flag: 'wx' });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

/** Replaces the content of a lease's file. */
export function rewriteLease(folder: string, lease: LeaseFile): void {
  const path = leasePath(folder, lease.device, lease.token);
  const temporary = `${path}.${process.pid}.tmp`;
  writeFileSync(temporary, JSON.stringify(lease));
  renameSync(temporary, path);
}

/** Leaves the token, and nobody who has it. */
export function emptyLease(folder: string, { device, token }: LeaseFile): void {
  truncateSync(leasePath(folder, device, token));
}

/** Says that the holder lives, to other machines. */
export function renewLease(folder: string, { device, token }: LeaseFile): void {
  const now = new Date();
  try {
    utimesSync(leasePath(folder, device, token), now, now);
  } catch {
    return;
  }
}

/** The lease with the highest token of each device. */
export function highestLeases(folder: string): Map<string, LeaseFile> {
  const found = new Map<string, LeaseFile>();
  for (const { device, token, path } of filesOf(folder)) {
    if ((found.get(device)?.token ?? 0) < token) found.set(device, read(path, device, token));
  }
  return found;
}

export function filesOf(folder: string): { device: string; token: number; path: string }[] {
  let names: string[];
  try {
    names = readdirSync(folder);
  } catch {
    return [];
  }
  return names.flatMap((name) => {
    const match = /^([\w-]+)\.(\d+)\.json$/.exec(name);
    if (match === null) return [];
    return [{ device: match[1] ?? '', token: Number(match[2]), path: join(folder, name) }];
  });
}

/** A file that cannot be read is nobody's: files are made whole. */
function read(path: string, device: string, token: number): LeaseFile {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as LeaseFile;
  } catch {
    const nobody = { run: '', stage: '', attempt: 0, host: '', worker: { pid: -1, startedAt: null }, engine: null };
    return { ...nobody, device, token, since: 0, isReleased: true };
  }
}

/** On another machine: has renewed its lease within a minute. */
export function isWorkerAlive(folder: string, lease: LeaseFile): boolean {
  if (lease.host === hostname()) return isRunning(lease.worker);
  const found = statSync(leasePath(folder, lease.device, lease.token), { throwIfNoEntry: false });
  return found !== undefined && Date.now() - found.mtimeMs < STALE_MS;
}

export function isEngineAlive({ host, engine }: LeaseFile): boolean {
  return host === hostname() && isRunning(engine);
}
