import { createHash } from 'node:crypto';
import { chmod, mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { run } from './run-command.js';

/** sha256 of the release archives, by version and platform. A download with another digest is thrown away. */
const ARCHIVE_SHA256: Readonly<Record<string, string>> = {
  '1.5.1 linux amd64': 'ddc95e08b0b076efd4ea9733a3f488eb7d2be875f8834e616cd2a37358b4852d',
  '1.5.1 linux arm64': 'bd1b0db9f18b051026de8bf6cc1505f2510f14bbb7a8b9a4a91fff46c77454f5',
  '1.5.1 darwin amd64': 'bbb73e2a31135abe50a1f1cdb35030c42961df618e8ce9c60ae89f201540c5d9',
  '1.5.1 darwin arm64': 'cca01b7ea35ad56e2a328d9ae596bf716bd22313ef63c7a761c88354457c2415',
};

const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' };
/** No answer within this: there is no network, and the next way is tried. */
const CONNECT_TIMEOUT_MS = 10_000;
const DOWNLOAD_TIMEOUT_MS = 10 * 60_000;

/** An archive that is known: where it is and what its bytes hash to. */
export interface ReleaseArchive {
  readonly url: string;
  readonly sha256: string;
}

/** The release archive for this platform. Throws an Error when its checksum is not known. */
export function releaseArchive(version: string): ReleaseArchive {
  const arch = ARCHITECTURES[process.arch] ?? process.arch;
  const sha256 = ARCHIVE_SHA256[`${version} ${process.platform} ${arch}`];
  if (sha256 === undefined) throw new Error(`no known checksum for ${process.platform} ${arch}`);
  const name = `temporal_cli_${version}_${process.platform}_${arch}.tar.gz`;
  return { url: `https://github.com/temporalio/cli/releases/download/v${version}/${name}`, sha256 };
}

/**
 * Downloads an archive of the Temporal CLI, checks its sha256 and puts the binary at `target` (atomic). Throws an Error
 * that says why not: no network, wrong checksum.
 */
export async function downloadServer(
  { url, sha256 }: ReleaseArchive,
  target: string,
  announce: (line: string) => void,
): Promise<void> {
  const archive = await fetchBytes(url, announce);
  const digest = createHash('sha256').update(archive).digest('hex');
  if (digest !== sha256) throw new Error(`the archive has sha256 ${digest}, expected ${sha256}`);
  await unpack(archive, target);
}

async function fetchBytes(url: string, announce: (line: string) => void): Promise<Uint8Array> {
  const abort = new AbortController();
  const connecting = setTimeout(() => abort.abort(new Error('no answer')), CONNECT_TIMEOUT_MS);
  const whole = setTimeout(() => abort.abort(new Error('took too long')), DOWNLOAD_TIMEOUT_MS);
  try {
    const response = await fetch(url, { signal: abort.signal });
    clearTimeout(connecting);
    if (!response.ok) throw new Error(`${url} answered ${response.status}`);
    announce(`Downloading the Temporal dev server from ${url}`);
    return new Uint8Array(await response.arrayBuffer());
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? `: ${error.cause.message}` : '';
    throw new Error(`${error instanceof Error ? error.message : String(error)}${cause}`, { cause: error });
  } finally {
    clearTimeout(connecting);
    clearTimeout(whole);
  }
}

async function unpack(archive: Uint8Array, target: string): Promise<void> {
  const folder = join(dirname(target), `.unpack-${process.pid}`);
  await mkdir(folder, { recursive: true });
  try {
    await writeFile(join(folder, 'archive.tar.gz'), archive);
    await run('tar', ['-xzf', 'archive.tar.gz', basename(target)], { cwd: folder });
    await chmod(join(folder, basename(target)), 0o755);
    await rename(join(folder, basename(target)), target);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
