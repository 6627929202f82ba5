import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { findServer, SERVER_VERSION } from '../../../cli/server/find-server.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'nibbleflow-find-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** A program that answers `server start-dev --help` as the Temporal CLI does, or does not. */
async function program(path: string, help = 'Options: --db-filename'): Promise<string> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, `#!/bin/sh\necho "${help}"\n`);
  await chmod(path, 0o755);
  return path;
}

const find = (env: Record<string, string>) => findServer({ env, cacheDir: join(folder, 'cache'), offline: true });

describe.skipIf(process.platform === 'win32')('the lookup of the server', () => {
  it('takes TEMPORAL_CLI_PATH, then PATH, then the cache', async () => {
    const cached = await program(join(folder, 'cache', 'temporal', SERVER_VERSION, 'temporal'));
    expect(await find({ PATH: join(folder, 'bin') })).toEqual({ path: cached, source: 'cache' });
    const onPath = await program(join(folder, 'bin', 'temporal'));
    expect(await find({ PATH: join(folder, 'bin') })).toEqual({ path: onPath, source: 'PATH' });
    const named = await program(join(folder, 'mine'));
    expect(await find({ PATH: join(folder, 'bin'), TEMPORAL_CLI_PATH: named })).toEqual({
      path: named,
      source: 'TEMPORAL_CLI_PATH',
    });
  });

  it('passes over a temporal on PATH that is no server', async () => {
    await program(join(folder, 'bin', 'temporal'), 'some other tool');
    const cached = await program(join(folder, 'cache', 'temporal', SERVER_VERSION, 'temporal'));
    expect(await find({ PATH: join(folder, 'bin') })).toEqual({ path: cached, source: 'cache' });
  });

  it('never passes over a TEMPORAL_CLI_PATH that does not work', async () => {
    await program(join(folder, 'bin', 'temporal'));
    await expect(find({ PATH: join(folder, 'bin'), TEMPORAL_CLI_PATH: join(folder, 'gone') })).rejects.toMatchObject({
      kind: 'ServerUnavailable',
      where: join(folder, 'gone'),
    });
  });

  it('lists everything it tried when there is none', async () => {
    await expect(find({ PATH: folder })).rejects.toMatchObject({
      kind: 'ServerUnavailable',
      message: expect.stringMatching(
        /TEMPORAL_CLI_PATH: not set[\s\S]*PATH: not found[\s\S]*cache[\s\S]*offline[\s\S]*TEMPORAL_ADDRESS/,
      ),
    });
  });
});
