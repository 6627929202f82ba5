import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { NibbleflowError } from '../../contracts/errors.js';
import { downloadServer, releaseArchive } from './download-server.js';
import { executableOnPath, isExecutable } from './executable-on-path.js';
import { installServer } from './install-server.js';
import { run } from './run-command.js';

/**
 * The version that is downloaded or built: the newest that `go install` can build (later ones have a `replace` directive).
 */
export const SERVER_VERSION = '1.5.1';

export interface FoundServer {
  /** The `temporal` binary. */
  readonly path: string;
  readonly source: 'TEMPORAL_CLI_PATH' | 'PATH' | 'cache' | 'download' | 'go install';
}

export interface FindOptions {
  readonly env?: NodeJS.ProcessEnv;
  /** Where downloads and builds are kept; default: the user's cache folder. */
  readonly cacheDir?: string;
  /** Told what takes long. */
  readonly announce?: (line: string) => void;
  /** No network: neither download nor build. */
  readonly offline?: boolean;
}

/**
 * Finds the server's binary: TEMPORAL_CLI_PATH, PATH, our cache, a pinned download with a known checksum, `go install`.
 * A TEMPORAL_CLI_PATH that does not work is an error, never skipped. Throws ServerUnavailable listing what was tried.
 */
export async function findServer(options: FindOptions = {}): Promise<FoundServer> {
  const env = options.env ?? process.env;
  const announce = options.announce ?? (() => undefined);
  const cached = cachedBinary(options.cacheDir ?? defaultCacheDir(env));
  const tried: string[] = [];

  if (env.TEMPORAL_CLI_PATH) return fromVariable(env.TEMPORAL_CLI_PATH);
  tried.push('TEMPORAL_CLI_PATH: not set');

  const onPath = executableOnPath(binaryName('temporal'), env);
  if (onPath !== undefined && (await canServe(onPath))) return { path: onPath, source: 'PATH' };
  tried.push(onPath === undefined ? 'temporal on PATH: not found' : `${onPath}: has no \`server start-dev\``);

  if (existsSync(cached) && (await canServe(cached))) return { path: cached, source: 'cache' };
  tried.push(`${cached}: not there`);

  if (options.offline) {
    tried.push('download and build: not tried, offline');
  } else {
    const download = await attempt(async () => downloadServer(releaseArchive(SERVER_VERSION), cached, announce));
    if (download === null) return { path: cached, source: 'download' };
    tried.push(`download of version ${SERVER_VERSION}: ${download}`);
    const install = await attempt(() => installServer(SERVER_VERSION, cached, env, announce));
    if (install === null) return { path: cached, source: 'go install' };
    tried.push(`go install of version ${SERVER_VERSION}: ${install}`);
  }
  throw new NibbleflowError('ServerUnavailable', 'no Temporal server was found', {
    fix: [
      'Tried in this order:',
      ...tried.map((line) => `  - ${line}`),
      'Set TEMPORAL_ADDRESS to a running server, or install the Temporal CLI and set TEMPORAL_CLI_PATH to it.',
    ].join('\n  '),
  });
}

async function fromVariable(path: string): Promise<FoundServer> {
  if (isExecutable(path) && (await canServe(path))) return { path, source: 'TEMPORAL_CLI_PATH' };
  throw new NibbleflowError('ServerUnavailable', 'TEMPORAL_CLI_PATH is not a working Temporal CLI', {
    where: path,
    fix: 'Set it to the `temporal` binary, or unset it to let nibbleflow find or fetch one.',
  });
}

/** null when it worked, else why not. */
async function attempt(action: () => Promise<void>): Promise<string | null> {
  try {
    await action();
    return null;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

async function canServe(path: string): Promise<boolean> {
  return run(path, ['server', 'start-dev', '--help'], { timeoutMs: 20_000 }).then(
    (output) => output.includes('--db-filename'),
    () => false,
  );
}

/** `temporal` of our cache, by version, so that an upgrade never starts an old one. */
function cachedBinary(cacheDir: string): string {
  return join(cacheDir, 'temporal', SERVER_VERSION, binaryName('temporal'));
}

/** The user's cache folder, or NIBBLEFLOW_CACHE. */
export function defaultCacheDir(env: NodeJS.ProcessEnv): string {
  if (env.NIBBLEFLOW_CACHE) return env.NIBBLEFLOW_CACHE;
  if (process.platform === 'win32' && env.LOCALAPPDATA) return join(env.LOCALAPPDATA, 'nibbleflow', 'cache');
  if (process.platform === 'darwin') return join(homedir(), 'Library', 'Caches', 'nibbleflow');
  return join(env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'nibbleflow');
}

function binaryName(name: string): string {
  return process.platform === 'win32' ? `${name}.exe` : name;
}
