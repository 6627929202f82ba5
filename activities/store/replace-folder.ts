import { randomUUID } from 'node:crypto';
import { mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { NibbleflowError } from '../../contracts/errors.js';
import { asDiskError } from './atomic-write.js';

/** What a process that died left behind is removed when it is this old. */
const ABANDONED_AFTER_MS = 24 * 3600 * 1000;

/**
 * Makes a folder that is either whole or as it was: `write` fills a new folder beside it (whose name starts with a dot), which
 * then takes its place. Nothing is left when it fails. Throws what `write` throws, OutputNotWritable or DiskFull.
 */
export async function replaceFolder<T>(folder: string, write: (fresh: string) => Promise<T>): Promise<T> {
  const fresh = join(dirname(folder), `.${basename(folder)}.${randomUUID()}.new`);
  const old = join(dirname(folder), `.${basename(folder)}.${randomUUID()}.old`);
  try {
    await mkdir(fresh, { recursive: true });
    await removeAbandoned(folder);
    const result = await write(fresh);
    const replaced = await rename(folder, old).then(() => true, absent);
    await rename(fresh, folder).catch(async (error: unknown) => {
      if (replaced) await rename(old, folder);
      throw error;
    });
    await rm(old, { recursive: true, force: true });
    return result;
  } catch (error) {
    await rm(fresh, { recursive: true, force: true }).catch(() => undefined);
    throw error instanceof NibbleflowError ? error : asDiskError(error, join(folder, 'new'));
  }
}

async function removeAbandoned(folder: string): Promise<void> {
  const parent = dirname(folder);
  for (const name of await readdir(parent)) {
    if (!/^\..*\.(new|old)$/.test(name)) continue;
    const path = join(parent, name);
    const { mtimeMs } = await stat(path).catch(() => ({ mtimeMs: Date.now() }));
    if (Date.now() - mtimeMs > ABANDONED_AFTER_MS) await rm(path, { recursive: true, force: true });
  }
}

function absent(error: NodeJS.ErrnoException): false {
  if (error.code === 'ENOENT') return false;
  throw error;
}
