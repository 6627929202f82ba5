import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { packageFile } from '../activities/package-file.js';
import { NibbleflowError } from '../contracts/errors.js';

/** The installed package's folder, whether this file runs from the sources or from dist/. */
export function packageRoot(): string {
  return packageFile('.');
}

/** A compiled file of the package, for processes that are started. */
export function compiledFile(path: string): string {
  const file = join(packageRoot(), 'dist', path);
  if (existsSync(file)) return file;
  throw new NibbleflowError('Internal', 'the package is not built', { where: file, fix: 'Run `npm run build`.' });
}
