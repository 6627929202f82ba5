import { existsSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname } from 'node:path';
import { type Check, type DoctorLine, ok } from './check.js';
import { gigabytes } from './gigabytes.js';

/** A run of the bundled model with all its artifacts takes 0.3 GB, one of a real pipeline a few times its own size. */
const WARN_BELOW_BYTES = 5e9;
const FAIL_BELOW_BYTES = 3e8;

/** Free space where the state, the artifacts and temporary files go. */
export const disk: Check = {
  name: 'disk',
  run: async ({ loaded }) =>
    Promise.all([
      spaceLine('state', loaded.stateDir),
      spaceLine('store', loaded.storeDir),
      spaceLine('temporary files', tmpdir()),
    ]),
};

async function spaceLine(name: string, folder: string): Promise<Omit<DoctorLine, 'check'>> {
  const { bavail, bsize } = await statfs(existing(folder));
  const free = bavail * bsize;
  const what = `${name}: ${gigabytes(free)} free in ${folder}`;
  if (free >= WARN_BELOW_BYTES) return ok(what);
  const fix =
    name === 'temporary files'
      ? 'Free some space, or set TMPDIR to a folder with more.'
      : 'nibbleflow gc --apply    (or set store.dir / NIBBLEFLOW_HOME to a larger disk)';
  return { state: free < FAIL_BELOW_BYTES ? 'failed' : 'warning', what, fix };
}

/** The folder, or the nearest one above that exists. */
function existing(folder: string): string {
  return existsSync(folder) || dirname(folder) === folder ? folder : existing(dirname(folder));
}
