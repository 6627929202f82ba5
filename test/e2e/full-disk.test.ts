import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import type { RecipeInput } from '../../contracts/recipe.js';
import { writeTinyPipeline } from '../fixtures/tiny-pipeline.js';
import { SizeLimitedDisk } from '../size-limited-disk.js';
import { CliHome, digestsOf } from './cli-home.js';

/** Whole runs on a store that is a disk of its own, and really full. */

const RECIPE: RecipeInput = {
  name: 'full',
  sampling: { steps: 2 },
  calibration: { trajectories: 4, timesteps: 2 },
  evaluation: { samples: 4, timestepPairs: 16, beforeFinetuning: false },
  finetuning: { enabled: false },
};
const RUN_MS = 240_000;
const DAY_MS = 24 * 3600 * 1000;
const PAGE_BYTES = 4096;

const probeFolder = await mkdtemp(join(tmpdir(), 'nibbleflow-mount-'));
const probe = SizeLimitedDisk.mount(probeFolder, 2 ** 20);
probe?.unmount();
await rm(probeFolder, { recursive: true, force: true });

let undisturbed: Record<string, string>;
/** What a run keeps, in pages of the disk. */
let keptBytes = 0;

async function open(): Promise<CliHome> {
  const home = await CliHome.open(RECIPE);
  home.pipeline = join(home.folder, 'tiny');
  await writeTinyPipeline(home.pipeline);
  return home;
}

async function files(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

async function onDisk<T>(bytes: number, work: (home: CliHome, disk: SizeLimitedDisk, store: string) => Promise<T>) {
  const home = await open();
  const store = join(home.home, 'store');
  const disk = SizeLimitedDisk.mount(store, bytes);
  if (disk === null) throw new Error('it could be mounted before');
  try {
    return await work(home, disk, store);
  } finally {
    await home.run('down');
    disk.unmount();
    await home.close();
  }
}

describe.skipIf(probe === null)('a run whose store is full', () => {
  beforeAll(async () => {
    const calm = await open();
    try {
      undisturbed = digestsOf(await calm.quantize());
      for (const path of await files(join(calm.home, 'store'))) {
        keptBytes += Math.ceil((await stat(path)).size / PAGE_BYTES) * PAGE_BYTES;
      }
    } finally {
      await calm.close();
    }
  }, RUN_MS);

  it('ends with 3, leaves nothing half-written, and goes on to the same end', { timeout: RUN_MS }, async () => {
    await onDisk(Math.ceil(keptBytes / 2), async (home, disk) => {
      const failed = await home.run(...home.quantizeArguments());
      expect(failed.code).toBe(3);
      expect(failed.stderr).toMatch(/DiskFull: .*no space left on the disk \(.*store.*\)\n {2}Free some space/);
      expect(await home.leftovers()).toEqual([]);
      disk.resize(8 * keptBytes);
      const summary = await home.quantize();
      expect(summary.reused).toBeGreaterThan(0);
      expect(digestsOf(summary)).toEqual(undisturbed);
    });
  });

  it('collects what nothing needs and does not fail at all', { timeout: RUN_MS }, async () => {
    await onDisk(4 * keptBytes, async (home, _disk, store) => {
      const old = join(store, 'objects', 'ee', 'e'.repeat(64));
      await writeOld(old, Math.floor(3.6 * keptBytes));
      const summary = await home.quantize();
      expect(digestsOf(summary)).toEqual(undisturbed);
      expect(existsSync(old)).toBe(false);
      expect(await home.leftovers()).toEqual(['out']);
    });
  });
});

async function writeOld(path: string, bytes: number): Promise<void> {
  await mkdir(join(path, '..'), { recursive: true });
  await writeFile(path, new Uint8Array(bytes));
  const then = new Date(Date.now() - 40 * DAY_MS);
  await utimes(path, then, then);
}
