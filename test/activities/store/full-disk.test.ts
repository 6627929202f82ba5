import { spawnSync } from 'node:child_process';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, it } from 'vitest';
import { packageRoot } from '../../../cli/package-root.js';

/** Blocks of 512 bytes (dash) or 1 KiB (bash): the limit is 32 or 64 KiB either way, the artifact 1 MiB. */
const LIMIT_BLOCKS = 64;

/** A file-size limit makes writing fail half-way through, as a full disk does; it needs no rights and no device. */
it.skipIf(process.platform === 'win32')(
  'a write that the disk refuses half-way is DiskFull and leaves nothing',
  async () => {
    const folder = await mkdtemp(join(tmpdir(), 'nibbleflow-full-'));
    const module = pathToFileURL(join(packageRoot(), 'dist', 'activities', 'store', 'local-store.js'));
    const script = `
    const { LocalStore } = await import(${JSON.stringify(module.href)});
    const store = await LocalStore.open(${JSON.stringify(folder)});
    await store.put('file', new Uint8Array(1 << 20)).catch((error) => console.log(error.kind));`;
    try {
      const shell = `ulimit -f ${LIMIT_BLOCKS}; exec "$0" --input-type=module -e "$1"`;
      const { stdout, stderr } = spawnSync('sh', ['-c', shell, process.execPath, script], { encoding: 'utf8' });
      expect(stderr).toBe('');
      expect(stdout.trim()).toBe('DiskFull');
      expect(await readdir(join(folder, 'tmp'))).toEqual([]);
      expect(await readdir(join(folder, 'objects'))).toEqual([]);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  },
);
