import { randomUUID } from 'node:crypto';
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { NibbleflowError } from '../../contracts/errors.js';

/**
 * Writes a file that is either whole or not there: temporary file beside it, fsync, rename, fsync of the folder.
 * Throws NibbleflowError DiskFull or OutputNotWritable.
 */
export async function atomicWrite(
  path: string,
  chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  folderForTemporary: string = dirname(path),
): Promise<void> {
  const temporary = await writeTemporary(folderForTemporary, chunks);
  await moveInPlace(temporary, path);
}

/** Writes chunks to a new temporary file, synced to the disk; nothing is left when it fails. */
export async function writeTemporary(
  folder: string,
  chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
): Promise<string> {
  const path = join(folder, `.${randomUUID()}.tmp`);
  try {
    await mkdir(folder, { recursive: true });
    const file = await open(path, 'wx');
    try {
      for await (const chunk of chunks) await writeAll(file, chunk);
      await file.sync();
    } finally {
      await file.close();
    }
    return path;
  } catch (error) {
    await rm(path, { force: true }).catch(() => undefined);
    throw asDiskError(error, path);
  }
}

async function writeAll(file: Awaited<ReturnType<typeof open>>, chunk: Uint8Array): Promise<void> {
  let offset = 0;
  while (offset < chunk.byteLength) {
    const { bytesWritten } = await file.write(chunk, offset, chunk.byteLength - offset);
    offset += bytesWritten;
  }
}

/** Renames a synced temporary file to its place and syncs the folder, so that the name survives a power cut. */
export async function moveInPlace(temporary: string, path: string): Promise<void> {
  try {
    await mkdir(dirname(path), { recursive: true });
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined);
    throw asDiskError(error, path);
  }
  await syncFolder(dirname(path));
}

/** Folders cannot be opened on Windows and not synced on some network drives; the rename is atomic without it. */
async function syncFolder(folder: string): Promise<void> {
  try {
    const handle = await open(folder, 'r');
    await handle.sync().finally(() => handle.close());
  } catch {
    return;
  }
}

const FULL = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);
const FORBIDDEN = new Set(['EACCES', 'EPERM', 'EROFS', 'ENOTDIR', 'EEXIST']);

/** ENOSPC, EDQUOT and EFBIG (a process limit) become DiskFull, missing rights OutputNotWritable; anything else stays what it is. */
export function asDiskError(error: unknown, path: string): unknown {
  const code = (error as NodeJS.ErrnoException | null)?.code ?? '';
  if (FULL.has(code)) {
    return new NibbleflowError('DiskFull', 'no space left on the disk', {
      where: dirname(path),
      fix: 'Free some space and run the same command again: finished stages are reused.',
      cause: error,
    });
  }
  if (FORBIDDEN.has(code)) {
    return new NibbleflowError('OutputNotWritable', `cannot write: ${code}`, {
      where: dirname(path),
      fix: 'Check the permissions of the folder, or choose another one.',
      cause: error,
    });
  }
  return error;
}
