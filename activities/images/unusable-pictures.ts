import { NibbleflowError } from '../../contracts/errors.js';

/** Files named in an error; the rest is counted. */
const NAMED = 10;

/** One file that cannot be used, and why: `reason` ends the sentence that the name begins. */
export interface UnusableFile {
  readonly path: string;
  readonly reason: string;
}

/** InvalidInput that names up to ten of the unusable files and counts the others. */
export function unusablePictures(folder: string, files: readonly UnusableFile[], total: number): NibbleflowError {
  const lines = files.slice(0, NAMED).map(({ path, reason }) => `\n    ${path} ${reason}`);
  const more = files.length > NAMED ? `\n    and ${files.length - NAMED} more` : '';
  const what = `${files.length} of ${total} pictures cannot be used:${lines.join('')}${more}\n `;
  return new NibbleflowError('InvalidInput', what, {
    where: folder,
    fix: 'Repair these files or move them out of the folder; nothing was computed or written.',
  });
}
