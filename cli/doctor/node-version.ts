import { readFileSync } from 'node:fs';
import { packageFile } from '../../activities/package-file.js';
import { type Check, ok } from './check.js';

/** Node against `engines` of the package. */
export const nodeVersion: Check = {
  name: 'node',
  run: async () => {
    const { engines } = JSON.parse(readFileSync(packageFile('package.json'), 'utf8')) as { engines: { node: string } };
    const least = engines.node.replace(/^>=/, '');
    const running = process.versions.node;
    if (isAtLeast(running, least)) return [ok(`${running}, ${process.platform} ${process.arch}`)];
    return [{ state: 'failed', what: `${running} is older than ${least}`, fix: `Install Node ${least} or later.` }];
  },
};

/** Compares versions number by number; what is missing counts as 0. */
export function isAtLeast(version: string, least: string): boolean {
  const [found, wanted] = [version, least].map((text) => text.split('.').map(Number));
  for (let part = 0; part < (wanted?.length ?? 0); part += 1) {
    const difference = (found?.[part] ?? 0) - (wanted?.[part] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  return true;
}
