import { createHash } from 'node:crypto';
import { readdir, realpath, stat } from 'node:fs/promises';
import { basename, dirname, join, sep } from 'node:path';
import { canonicalJson } from '../../contracts/canonical-json.js';
import { NibbleflowError } from '../../contracts/errors.js';
import { digestOfFile } from './local-store.js';

export interface FolderFile {
  /** Relative, with forward slashes. */
  readonly path: string;
  readonly digest: string;
  readonly sizeBytes: number;
}

/** Whose folder it is: what a failure says, and what kind it is. */
const OWNERS = { pipeline: 'InvalidModel', reference: 'InvalidInput' } as const;
type Owner = keyof typeof OWNERS;

/** Hugging Face's cache: `snapshots/<revision>/…` are links to `blobs/…` beside it. */
const CACHE_SNAPSHOTS = 'snapshots';
const CACHE_BLOBS = 'blobs';

/**
 * The regular files of a folder with their digests, sorted by path, and one digest of all. Names that start with a dot are
 * left out. Links of a pipeline are followed within its folder and, in a model cache, to the cache's own files: whatever is in a
 * pipeline ends up in what is shipped. Those of a reference are followed anywhere. Throws InvalidModel, of a reference InvalidInput, for folders
 * and files that cannot be read.
 */
export async function digestFolder(
  folder: string,
  owner: Owner = 'pipeline',
): Promise<{ digest: string; files: FolderFile[] }> {
  const files: FolderFile[] = [];
  for (const path of await pathsBelow(folder, '', owner)) {
    try {
      const full = join(folder, path);
      files.push({ path, digest: await digestOfFile(full), sizeBytes: (await stat(full)).size });
    } catch (error) {
      throw unreadable(`a file of the ${owner}`, join(folder, path), owner, error);
    }
  }
  files.sort((a, b) => (a.path < b.path ? -1 : 1));
  const digest = createHash('sha256')
    .update(canonicalJson(files.map((file) => [file.path, file.digest])))
    .digest('hex');
  return { digest, files };
}

async function pathsBelow(folder: string, prefix: string, owner: Owner): Promise<string[]> {
  const paths: string[] = [];
  const entries = await readdir(join(folder, prefix), { withFileTypes: true }).catch((error: unknown) => {
    throw unreadable(`a folder of the ${owner}`, join(folder, prefix), owner, error);
  });
  for (const entry of entries) {
    if (entry.name.startsWith('.')) continue;
    const path = prefix === '' ? entry.name : `${prefix}/${entry.name}`;
    const target = entry.isSymbolicLink() ? await stat(join(folder, path)).catch(() => undefined) : entry;
    if (owner === 'pipeline' && entry.isSymbolicLink()) await refuseEscape(folder, path);
    if (target?.isDirectory() && !entry.isSymbolicLink()) paths.push(...(await pathsBelow(folder, path, owner)));
    else if (target === undefined || target.isFile()) paths.push(path);
  }
  return paths;
}

/** Throws InvalidModel for a link that leads out of a pipeline folder; broken ones are told when they are read. */
async function refuseEscape(folder: string, path: string): Promise<void> {
  const target = await realpath(join(folder, path)).catch(() => undefined);
  if (target === undefined) return;
  const root = await realpath(folder);
  const roots = basename(dirname(root)) === CACHE_SNAPSHOTS ? [root, join(root, '..', '..', CACHE_BLOBS)] : [root];
  if (roots.some((inside) => target.startsWith(`${inside}${sep}`))) return;
  throw new NibbleflowError('InvalidModel', 'a link leads out of the pipeline folder', {
    where: join(folder, path),
    fix: 'Copy the file into the folder: what a pipeline holds is copied and shipped with it.',
  });
}

function unreadable(what: string, where: string, owner: Owner, error: unknown): NibbleflowError {
  const message = error instanceof Error ? ((error as NodeJS.ErrnoException).code ?? error.message) : String(error);
  return new NibbleflowError(OWNERS[owner], `cannot read ${what}: ${message}`, {
    where,
    fix: 'Check that it exists, is not a broken link, and that you may read it.',
    cause: error,
  });
}
