import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isRunning, type ProcessRef, processRef } from './processes.js';
import type { RunFolder } from './service-record.js';

/** Says that this process watches a run, so that server and worker stay; undone by the returned function. */
export function attachClient(runFolder: RunFolder): () => void {
  runFolder.prepare();
  const file = join(runFolder.clientsFolder, `${process.pid}.json`);
  writeFileSync(file, JSON.stringify(processRef(process.pid)));
  return () => rmSync(file, { force: true });
}

/** The processes that watch; files of those that died are removed. */
export function attachedClients(runFolder: RunFolder): ProcessRef[] {
  if (!existsSync(runFolder.clientsFolder)) return [];
  return readdirSync(runFolder.clientsFolder).flatMap((name) => {
    const file = join(runFolder.clientsFolder, name);
    const ref = readRef(file);
    if (ref !== undefined && isRunning(ref)) return [ref];
    rmSync(file, { force: true });
    return [];
  });
}

function readRef(file: string): ProcessRef | undefined {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as ProcessRef;
  } catch {
    return undefined;
  }
}
