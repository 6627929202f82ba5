import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmod, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { downloadServer } from '../../../cli/server/download-server.js';

let folder: string;
let archive: Buffer;
let server: Server;
let origin: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'nibbleflow-download-'));
  await writeFile(join(folder, 'temporal'), '#!/bin/sh\necho served\n');
  await chmod(join(folder, 'temporal'), 0o755);
  execFileSync('tar', ['-czf', 'archive.tar.gz', 'temporal'], { cwd: folder });
  archive = await readFile(join(folder, 'archive.tar.gz'));
  server = createServer((request, response) => {
    response.statusCode = request.url === '/archive' ? 200 : 404;
    response.end(request.url === '/archive' ? archive : undefined);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(async () => {
  server.close();
  await rm(folder, { recursive: true, force: true });
});

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
const silent = (): void => undefined;

describe('the download of the server', () => {
  it('unpacks an archive with the right checksum into an executable', async () => {
    const target = join(folder, 'cache', 'temporal');
    await downloadServer({ url: `${origin}/archive`, sha256: sha256(archive) }, target, silent);
    expect(execFileSync(target, { encoding: 'utf8' })).toBe('served\n');
    expect(await readdir(join(folder, 'cache'))).toEqual(['temporal']);
  });

  it('throws an archive with another checksum away', async () => {
    const target = join(folder, 'other', 'temporal');
    const wrong = { url: `${origin}/archive`, sha256: '0'.repeat(64) };
    await expect(downloadServer(wrong, target, silent)).rejects.toThrow(/expected 0{64}/);
    await expect(readdir(join(folder, 'other'))).rejects.toThrow('ENOENT');
  });

  it('says that the address does not have it', async () => {
    const gone = { url: `${origin}/gone`, sha256: sha256(archive) };
    await expect(downloadServer(gone, join(folder, 'x', 'temporal'), silent)).rejects.toThrow(/answered 404/);
  });
});
