import { z } from 'zod';

/** True for a path with forward slashes that stays below the folder it is relative to, on every system. */
export function isRelativePath(path: string): boolean {
  const segments = path.split('/');
  return (
    segments.every((segment) => segment !== '' && segment !== '.' && segment !== '..') &&
    !/[\\\0]/.test(path) &&
    !/^[A-Za-z]:/.test(path)
  );
}

/** A path out of a file or a store that something is going to be read or written at. */
export const relativePathSchema = z.string().refine(isRelativePath, 'is no path below the folder');
