import { mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MockActivityEnvironment } from '@temporalio/testing';
import { DefaultLogger } from '@temporalio/worker';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { EnginePool } from '../../activities/engine-pool.js';
import { runStage } from '../../activities/stage-frame.js';
import { collectGarbage } from '../../activities/store/collect-garbage.js';
import { LocalStore } from '../../activities/store/local-store.js';
import { StageCache } from '../../activities/store/stage-cache.js';
import type { ArtifactRef } from '../../contracts/artifact.js';
import type { StageOutcome } from '../../contracts/stages.js';
import { FAILURE_POLICIES } from '../../workflows/policies.js';
import { SizeLimitedDisk } from '../size-limited-disk.js';

/** A store on a disk of 4 MiB that is really full. */
const DISK_BYTES = 4 * 2 ** 20;
const ARTIFACT_BYTES = 3 * 2 ** 20;
const DAY_MS = 24 * 3600 * 1000;

const root = await mkdtemp(join(tmpdir(), 'nibbleflow-disk-'));
const disk = SizeLimitedDisk.mount(join(root, 'store'), DISK_BYTES);

interface Result extends StageOutcome {
  readonly made: ArtifactRef;
}

describe.skipIf(disk === null)('a stage on a full disk', () => {
  let store: LocalStore;
  let collections = 0;
  beforeAll(async () => {
    store = await LocalStore.open(join(root, 'store'));
  });
  afterAll(async () => {
    disk?.unmount();
    await rm(root, { recursive: true, force: true });
  });

  const attempt = (byte: number): Promise<Result> => {
    const deps = {
      store,
      engines: new EnginePool(),
      policies: FAILURE_POLICIES,
      facts: {},
      freeSpace: async () => {
        collections += 1;
        const roots = { running: [], finished: [], runningSince: Number.POSITIVE_INFINITY };
        await collectGarbage(store.files, { roots, keepDays: 30, now: Date.now(), apply: true });
      },
    };
    const options = { stage: 'round', version: 1, input: z.strictObject({ byte: z.number() }) } as const;
    const activity = (input: unknown): Promise<Result> =>
      runStage<typeof options.input, Result>(deps, options, input, async (_, context) => ({
        made: await context.store.put('file', new Uint8Array(ARTIFACT_BYTES).fill(byte)),
        summary: 'made',
      }));
    return new MockActivityEnvironment({}, { logger: new DefaultLogger('ERROR') }).run(activity, { byte });
  };

  it('collects what nothing needs, is tried again once, and ends well', async () => {
    const old = await store.put('file', new Uint8Array(ARTIFACT_BYTES).fill(1));
    await new StageCache(store).save('a'.repeat(64), { old });
    const then = new Date(Date.now() - 40 * DAY_MS);
    for (const entry of await readdir(store.folder, { recursive: true, withFileTypes: true })) {
      if (entry.isFile()) await utimes(join(entry.parentPath, entry.name), then, then);
    }
    await expect(attempt(2)).rejects.toMatchObject({ type: 'DiskFull', nonRetryable: false });
    expect(collections).toBe(1);
    const { made } = await attempt(2);
    expect((await store.get(made)).every((byte) => byte === 2)).toBe(true);
    expect(await store.has(old)).toBe(false);
    expect(await readdir(store.temporaryFolder)).toEqual([]);
  });

  it('fails for good when everything is needed, with nothing half-written, and goes on when there is space', async () => {
    const before = await readdir(store.folder, { recursive: true });
    await expect(attempt(3)).rejects.toMatchObject({ type: 'DiskFull', nonRetryable: false });
    await expect(attempt(3)).rejects.toMatchObject({ type: 'DiskFull', nonRetryable: true });
    const after = (await readdir(store.folder, { recursive: true })).filter((name) => !name.startsWith('failures'));
    expect(after.filter((name) => !before.includes(name))).toEqual([]);
    disk?.resize(3 * DISK_BYTES);
    expect(await attempt(3)).toMatchObject({ reused: false });
  });

  it('does not try again when there is not even space for counting', async () => {
    await writeFile(join(store.folder, 'filler'), new Uint8Array(3 * DISK_BYTES)).catch(() => undefined);
    await expect(attempt(4)).rejects.toMatchObject({ type: 'DiskFull', nonRetryable: true });
    await rm(join(store.folder, 'filler'));
  });
});
