import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { NibbleflowError } from '../contracts/errors.js';

/** The installed package's folder, whether this file runs from the sources or from dist/. */
export function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  for (;;) {
    const file = join(folder, 'package.json');
    if (existsSync(file) && (JSON.parse(readFileSync(file, 'utf8')) as { name?: string }).name === 'nibbleflow') {
      return folder;
    }
    const parent = dirname(folder);
    if (parent === folder) throw new NibbleflowError('Internal', 'the package folder of nibbleflow was not found');
    folder = parent;
  }
}

/** Version in package.json. */
export function packageVersion(): string {
  const text = readFileSync(join(packageRoot(), 'package.json'), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

/** A compiled file of the package, for processes that are started. */
export function compiledFile(path: string): string {
  const file = join(packageRoot(), 'dist', path);
  if (existsSync(file)) return file;
  throw new NibbleflowError('Internal', 'the package is not built', { where: file, fix: 'Run `npm run build`.' });
}
