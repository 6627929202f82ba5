import { createHash } from 'node:crypto';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { canonicalJson } from '../../contracts/canonical-json.js';
import { NibbleflowError } from '../../contracts/errors.js';
import { digestOfFile } from './local-store.js';

export interface FolderFile {
  /** Relative, with forward slashes. */
  readonly path: string;
  readonly digest: string;
  readonly sizeBytes: number;
}

/**
 * The regular files of a pipeline folder with their digests, sorted by path, and one digest of all. Names that start with
 * a dot are left out; links are followed (model caches are made of them). Throws InvalidModel for files that cannot be
 * read.
 */
export async function digestFolder(folder: string): Promise<{ digest: string; files: FolderFile[] }> {
  const files: FolderFile[] = [];
  for (const path of await pathsBelow(folder, '')) {
    try {
      const full = join(folder, path);
      files.push({ path, digest: await digestOfFile(full), sizeBytes: (await stat(full)).size });
    } catch (error) {
      throw new NibbleflowError('InvalidModel', `cannot read a file of the pipeline: ${messageOf(error)}`, {
        where: join(folder, path),
        fix: 'Check that the file exists, is not a broken link, and that you may read it.',
        cause: error,
      });
    }
  }
  files.sort((a, b) => (a.path < b.path ? -1 : 1));
  const digest = createHash('sha256')
    .update(canonicalJson(files.map((file) => [file.path, file.digest])))
    .digest('hex');
  return { digest, files };
}

async function pathsBelow(folder: string, prefix: string): Promise<string[]> {
  const paths: string[] = [];
  for (const entry of await readdir(join(folder, prefix), { withFileTypes: true })) {
    if (entry.name.startsWith('.')) continue;
    const path = prefix === '' ? entry.name : `${prefix}/${entry.name}`;
    const target = entry.isSymbolicLink() ? await stat(join(folder, path)).catch(() => undefined) : entry;
    if (target?.isDirectory() && !entry.isSymbolicLink()) paths.push(...(await pathsBelow(folder, path)));
    else if (target === undefined || target.isFile()) paths.push(path);
  }
  return paths;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
