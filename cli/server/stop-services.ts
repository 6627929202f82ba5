import { isRunning, terminate } from './processes.js';
import type { RunFolder } from './service-record.js';

/** What the supervisor needs beside its worker's grace time: the server's end (10 s) and its own. */
const SUPERVISOR_RESERVE_MS = 20_000;
const ORPHAN_RESERVE_MS = 5_000;
const WORKER_GRACE_SECONDS = 30;

/**
 * Stops the services of a record and whatever of them outlived a killed supervisor. Returns whether anything ran.
 */
export async function stopServices(runFolder: RunFolder, name: string): Promise<boolean> {
  const record = runFolder.read(name);
  if (record === undefined) return false;
  const parts = [record.supervisor, record.worker, record.server];
  const ran = parts.some(isRunning);
  const graceMs = 1000 * (record.graceSeconds ?? WORKER_GRACE_SECONDS);
  await terminate(record.supervisor, graceMs + SUPERVISOR_RESERVE_MS);
  const latest = runFolder.read(name) ?? record;
  for (const part of [record.worker, latest.worker, record.server, latest.server]) {
    await terminate(part, graceMs + ORPHAN_RESERVE_MS);
  }
  runFolder.remove(name);
  return ran;
}
