import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { executableOnPath, isExecutable } from '../cli/server/executable-on-path.js';
import { defaultCacheDir } from '../cli/server/find-server.js';
import { LOOPBACK } from '../cli/server/ports.js';
import { processRef, terminate } from '../cli/server/processes.js';
import { run } from '../cli/server/run-command.js';
import { anyFreePort } from './workflows/temporal-for-tests.js';

/** An S3 server in one binary that keeps objects in a folder; Apache-2.0. */
const MODULE = 'github.com/versity/versitygw/cmd/versitygw';
const VERSION = '1.8.0';
const BUILD_TIMEOUT_MS = 20 * 60_000;
const START_TIMEOUT_MS = 30_000;

/** Not secrets: the server listens on loopback for the length of a test. */
const CREDENTIALS = { AWS_ACCESS_KEY_ID: 'nibbleflow-test', AWS_SECRET_ACCESS_KEY: 'only-for-tests' };

/**
 * The server's binary: NIBBLEFLOW_S3_SERVER, PATH, the cache of an earlier build, `go install` of a pinned version. null,
 * with one loud line, when there is none; an Error in CI, where these tests must run.
 */
export async function findS3Server(env: NodeJS.ProcessEnv = process.env): Promise<string | null> {
  if (env.NIBBLEFLOW_S3_SERVER) return env.NIBBLEFLOW_S3_SERVER;
  const onPath = executableOnPath('versitygw', env);
  if (onPath !== undefined) return onPath;
  const cached = join(defaultCacheDir(env), 'versitygw', VERSION, 'versitygw');
  if (isExecutable(cached)) return cached;
  const go = executableOnPath('go', env);
  const problem = go === undefined ? 'go is not on PATH' : await problemOf(build(go, cached, env));
  if (problem === null) return cached;
  const text = `The tests of S3 stores need versitygw: ${problem}. Set NIBBLEFLOW_S3_SERVER to its binary.`;
  if (env.CI) throw new Error(text);
  process.stderr.write(`SKIPPED, NOT TESTED: ${text}\n`);
  return null;
}

async function build(go: string, target: string, env: NodeJS.ProcessEnv): Promise<void> {
  const folder = join(dirname(target), `.build-${process.pid}`);
  process.stderr.write(
    `Building an S3 server for the tests once: go install ${MODULE}@v${VERSION}, a minute or two.\n`,
  );
  await mkdir(folder, { recursive: true });
  try {
    await run(go, ['install', `${MODULE}@v${VERSION}`], {
      env: { ...env, GOBIN: folder },
      timeoutMs: BUILD_TIMEOUT_MS,
    });
    await rename(join(folder, 'versitygw'), target);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function problemOf(action: Promise<void>): Promise<string | null> {
  return action.then(
    () => null,
    (error: unknown) => (error instanceof Error ? error.message : String(error)),
  );
}

/** A running S3 server of a test, on loopback, with one empty bucket. */
export class S3ServerForTests {
  private constructor(
    private readonly binary: string,
    /** Objects are files below `data/<bucket>`. */
    readonly folder: string,
    readonly port: number,
    private child: ReturnType<typeof spawn> | null = null,
  ) {}

  static async start(binary: string): Promise<S3ServerForTests> {
    const folder = await mkdtemp(join(tmpdir(), 'nibbleflow-s3-'));
    // Buckets are folders of the root.
    await mkdir(join(folder, 'data', S3ServerForTests.bucket), { recursive: true });
    await mkdir(join(folder, 'metadata'), { recursive: true });
    const server = new S3ServerForTests(binary, folder, await anyFreePort());
    await server.resume();
    return server;
  }

  static readonly bucket = 'nibbleflow-tests';

  /** What a store needs to be told: its URL. */
  url(prefix = ''): string {
    const { bucket } = S3ServerForTests;
    const endpoint = `http://${LOOPBACK}:${this.port}`;
    return `s3://${bucket}${prefix === '' ? '' : `/${prefix}`}?region=us-east-1&endpoint=${encodeURIComponent(endpoint)}`;
  }

  /** What the AWS chain finds: nothing of the machine's own. */
  readonly env: Record<string, string> = {
    ...CREDENTIALS,
    AWS_EC2_METADATA_DISABLED: 'true',
    AWS_CONFIG_FILE: '/nowhere',
    AWS_SHARED_CREDENTIALS_FILE: '/nowhere',
  };

  /** Starts it, or starts it again with the same objects on the same port. */
  async resume(): Promise<void> {
    const { folder } = this;
    const listen = ['--port', `${LOOPBACK}:${this.port}`, '--quiet', 'posix'];
    this.child = spawn(this.binary, [...listen, '--sidecar', join(folder, 'metadata'), join(folder, 'data')], {
      env: {
        ...process.env,
        ROOT_ACCESS_KEY: CREDENTIALS.AWS_ACCESS_KEY_ID,
        ROOT_SECRET_KEY: CREDENTIALS.AWS_SECRET_ACCESS_KEY,
      },
      stdio: 'ignore',
    });
    const deadline = Date.now() + START_TIMEOUT_MS;
    while (!(await answers(`http://${LOOPBACK}:${this.port}`))) {
      if (this.child.exitCode !== null || Date.now() > deadline) throw new Error('the S3 server did not start');
      await sleep(50);
    }
  }

  /** Stops it as an outage does: the objects stay. */
  async pause(): Promise<void> {
    if (this.child?.pid !== undefined) await terminate(processRef(this.child.pid), 0);
  }

  async stop(): Promise<void> {
    await this.pause();
    if (existsSync(this.folder)) await rm(this.folder, { recursive: true, force: true });
  }
}

/** Any answer will do: without credentials it is a refusal. */
async function answers(url: string): Promise<boolean> {
  return fetch(url).then(
    () => true,
    () => false,
  );
}
