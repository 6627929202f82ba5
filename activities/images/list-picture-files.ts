import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { NibbleflowError } from '../../contracts/errors.js';

/** The files of a folder, its folders included (as clean-fid searches them). */
export interface PictureFiles {
  /** .png, .jpg and .jpeg, relative with forward slashes, in the order of their names' code units. */
  readonly pictures: readonly string[];
  /** Other files by ending, e.g. `.txt` → 3; hidden files and linked folders count too. */
  readonly others: ReadonlyMap<string, number>;
}

const PICTURE = /\.(png|jpe?g)$/i;

/** Lists a folder. Throws InvalidInput when there is none or it cannot be read. */
export async function listPictureFiles(folder: string): Promise<PictureFiles> {
  const found = await stat(folder).catch(() => undefined);
  if (found === undefined)
    throw new NibbleflowError('InvalidInput', 'there is no such folder of pictures', { where: folder });
  if (!found.isDirectory()) {
    throw new NibbleflowError('InvalidInput', 'not a folder of pictures', {
      where: folder,
      fix: 'Give the folder that the picture files are in.',
    });
  }
  const pictures: string[] = [];
  const others = new Map<string, number>();
  await collect(folder, '', pictures, others);
  return { pictures: pictures.sort((a, b) => (a < b ? -1 : 1)), others };
}

async function collect(root: string, below: string, pictures: string[], others: Map<string, number>): Promise<void> {
  const entries = await readdir(join(root, below), { withFileTypes: true }).catch((cause: NodeJS.ErrnoException) => {
    throw new NibbleflowError('InvalidInput', `the folder cannot be read: ${cause.code}`, {
      where: join(root, below),
      cause,
    });
  });
  for (const entry of entries) {
    const path = below === '' ? entry.name : `${below}/${entry.name}`;
    if (entry.isDirectory() && !entry.name.startsWith('.')) await collect(root, path, pictures, others);
    else if (!entry.name.startsWith('.') && PICTURE.test(entry.name) && (await isFile(entry, join(root, path)))) {
      pictures.push(path);
    } else {
      const ending = endingOf(entry.name);
      others.set(ending, (others.get(ending) ?? 0) + 1);
    }
  }
}

/** Links to files are files; links to folders are not followed, so that a circle of links ends. */
async function isFile(entry: { isFile(): boolean; isSymbolicLink(): boolean }, path: string): Promise<boolean> {
  if (entry.isFile()) return true;
  if (!entry.isSymbolicLink()) return false;
  const target = await stat(path).catch(() => undefined);
  // a link to nowhere is a picture that cannot be read, and is reported as one
  return target === undefined || target.isFile();
}

function endingOf(name: string): string {
  if (name.startsWith('.')) return 'hidden';
  return /\.[^.]+$/.exec(name)?.[0].toLowerCase() ?? 'without an ending';
}
