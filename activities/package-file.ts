import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { NibbleflowError } from '../contracts/errors.js';

/** A file that the package brings along, whether this module runs from the sources or from dist/. */
export function packageFile(path: string): string {
  return join(packageFolder(), path);
}

/** Version in package.json. */
export function packageVersion(): string {
  const { version } = JSON.parse(readFileSync(packageFile('package.json'), 'utf8')) as { version: string };
  return version;
}

function packageFolder(): string {
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
