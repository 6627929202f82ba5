import { isRunning, terminate } from './processes.js';
import type { RunFolder } from './service-record.js';

/** The supervisor ends its worker (15 s at most) and server (10 s) before itself. */
const SUPERVISOR_GRACE_MS = 30_000;
const ORPHAN_GRACE_MS = 15_000;

/**
 * Stops the services of a record and whatever of them outlived a killed supervisor. Returns whether anything ran.
 */
export async function stopServices(runFolder: RunFolder, name: string): Promise<boolean> {
  const record = runFolder.read(name);
  if (record === undefined) return false;
  const parts = [record.supervisor, record.worker, record.server];
  const ran = parts.some(isRunning);
  await terminate(record.supervisor, SUPERVISOR_GRACE_MS);
  const latest = runFolder.read(name) ?? record;
  for (const part of [record.worker, latest.worker, record.server, latest.server]) {
    await terminate(part, ORPHAN_GRACE_MS);
  }
  runFolder.remove(name);
  return ran;
}
