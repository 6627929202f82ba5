import { NibbleflowError } from '../../contracts/errors.js';
import { type PictureSource, selectedPictures } from '../../evaluation/features/picture-source.js';
import type { ImageFolder } from './image-folder.js';

/** Two folders' pictures, matched: picture i of one belongs to picture i of the other. */
export interface FolderPairs {
  readonly reference: PictureSource;
  readonly candidate: PictureSource;
  /** Path of each pair without its ending. */
  readonly names: readonly string[];
}

/** Names in an error. */
const NAMED = 10;

/**
 * Matches pictures by their paths, endings aside (`a/1.png` and `a/1.jpg` are a pair). Throws InvalidInput when a picture has
 * no partner, or a folder has two of a name.
 */
export function pairFolders(reference: ImageFolder, candidate: ImageFolder): FolderPairs {
  const [left, right] = [placesByName(reference), placesByName(candidate)];
  const lonely = [
    ...[...left.keys()].filter((name) => !right.has(name)).map((name) => `${name} is only in ${reference.folder}`),
    ...[...right.keys()].filter((name) => !left.has(name)).map((name) => `${name} is only in ${candidate.folder}`),
  ];
  if (lonely.length > 0) {
    const more = lonely.length > NAMED ? `\n    and ${lonely.length - NAMED} more` : '';
    const lines = lonely.slice(0, NAMED).map((line) => `\n    ${line}`);
    throw new NibbleflowError('InvalidInput', `${lonely.length} pictures have no partner:${lines.join('')}${more}`, {
      fix: 'Pairs have the same path in both folders; endings may differ.',
    });
  }
  const names = [...left.keys()];
  return {
    names,
    reference: selectedPictures(reference, [...left.values()]),
    candidate: selectedPictures(
      candidate,
      names.map((name) => right.get(name) as number),
    ),
  };
}

function placesByName(folder: ImageFolder): Map<string, number> {
  const places = new Map<string, number>();
  for (const [index, path] of folder.paths.entries()) {
    const name = path.replace(/\.[^.]+$/, '');
    const other = places.get(name);
    if (other !== undefined) {
      throw new NibbleflowError('InvalidInput', `${folder.paths[other]} and ${path} have the same name`, {
        where: folder.folder,
        fix: 'Pictures are paired by their names without endings: keep one of them.',
      });
    }
    places.set(name, index);
  }
  return places;
}
