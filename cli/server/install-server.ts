import { mkdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { executableOnPath } from './executable-on-path.js';
import { run } from './run-command.js';

const MODULE = 'github.com/temporalio/cli/cmd/temporal';
const BUILD_TIMEOUT_MS = 30 * 60_000;

/**
 * Builds the Temporal CLI with `go install` and puts the binary at `target` (atomic). Announced, because it takes minutes.
 * Throws an Error that says why not.
 */
export async function installServer(
  version: string,
  target: string,
  env: NodeJS.ProcessEnv,
  announce: (line: string) => void,
): Promise<void> {
  const go = executableOnPath(process.platform === 'win32' ? 'go.exe' : 'go', env);
  if (go === undefined) throw new Error('go is not on PATH');
  announce(
    `Building the Temporal dev server once: go install ${MODULE}@v${version}. This takes 4 to 10 minutes and 3 GB of Go's caches.`,
  );
  const folder = join(dirname(target), `.build-${process.pid}`);
  await mkdir(folder, { recursive: true });
  try {
    await run(go, ['install', `${MODULE}@v${version}`], {
      env: { ...env, GOBIN: folder },
      timeoutMs: BUILD_TIMEOUT_MS,
    });
    await rename(join(folder, basename(target)), target);
    announce(`Built ${target}`);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
