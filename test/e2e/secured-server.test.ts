import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { packageRoot } from '../../cli/package-root.js';
import { openClient } from '../../cli/server/connection.js';
import { type Certificates, makeCertificates, secretPart } from '../cli/certificates.js';
import { type ForeignServer, startForeignServer } from '../cli/foreign-server.js';
import { type GrpcProxy, startGrpcProxy } from '../cli/grpc-proxy.js';
import { writeTinyPipeline } from '../fixtures/tiny-pipeline.js';
import { CliHome } from './cli-home.js';

/** A server as providers have them: TLS, certificates of clients, API keys; and where keys must never be seen. */

const API_KEY = 'api-key-hush-4711-hush';
const RUN_MS = 300_000;

let foreign: ForeignServer;
let proxy: GrpcProxy;
let certificates: Certificates;
const homes: CliHome[] = [];

beforeAll(async () => {
  foreign = await startForeignServer();
}, RUN_MS);
afterEach(async () => {
  for (const home of homes.splice(0)) await home.close();
  await proxy.close();
}, RUN_MS);
afterAll(() => foreign.stop());

/** A home whose server is behind TLS and a key. */
async function securedHome(): Promise<CliHome> {
  const home = await CliHome.open({ name: 'unused' });
  homes.push(home);
  certificates = makeCertificates(home.folder);
  proxy = await startGrpcProxy(foreign.port, { certificates, clientCertificates: true, apiKey: API_KEY });
  return home;
}

function byVariables(home: CliHome): void {
  Object.assign(home.env, {
    TEMPORAL_ADDRESS: proxy.address,
    TEMPORAL_API_KEY: API_KEY,
    TEMPORAL_TLS_SERVER_CA_CERT_PATH: certificates.ca,
    TEMPORAL_TLS_SERVER_NAME: 'temporal.test',
    TEMPORAL_TLS_CLIENT_CERT_PATH: certificates.clientCert,
    TEMPORAL_TLS_CLIENT_KEY_DATA: readFileSync(certificates.clientKey, 'utf8'),
  });
}

async function byProfile(home: CliHome): Promise<void> {
  const file = join(home.folder, 'temporal.toml');
  const tls = {
    server_ca_cert_path: certificates.ca,
    server_name: 'temporal.test',
    client_cert_path: certificates.clientCert,
    client_key_path: certificates.clientKey,
  };
  const lines = Object.entries(tls).map(([key, value]) => `${key} = ${JSON.stringify(value)}`);
  await writeFile(
    file,
    `[profile.cloud]\naddress = "${proxy.address}"\napi_key = "${API_KEY}"\n[profile.cloud.tls]\n${lines.join('\n')}\n`,
  );
  Object.assign(home.env, { TEMPORAL_CONFIG_FILE: file, TEMPORAL_PROFILE: 'cloud' });
}

function evaluate(home: CliHome): string[] {
  const folders = [join(home.folder, 'candidate'), '--against', join(home.folder, 'float')];
  const settings = ['--set', 'sampling.steps=2', '--set', 'metrics=[psnr]', '--samples', '4'];
  return ['evaluate', ...folders, ...settings, '--threads', '1', '--out', home.out];
}

const called = (): Set<string> => new Set(proxy.calls.map(({ method }) => method));

/** Files below a folder that hold a text, but for those that are the secret's own place. */
async function filesWith(folder: string, text: string, except: RegExp): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.flatMap((entry) => (entry.isFile() ? [join(entry.parentPath, entry.name)] : []));
  const found = await Promise.all(files.map(async (file) => ((await readFile(file)).includes(text) ? [file] : [])));
  return found.flat().filter((file) => !except.test(file));
}

async function histories(): Promise<string> {
  const open = await openClient({ address: foreign.address, namespace: 'default' });
  try {
    const found: unknown[] = [];
    for await (const { workflowId } of open.client.workflow.list()) {
      found.push(await open.client.workflow.getHandle(workflowId).fetchHistory());
    }
    expect(found.length).toBeGreaterThan(0);
    return JSON.stringify(found, (_, value) => (value instanceof Uint8Array ? Buffer.from(value).toString() : value));
  } finally {
    await open.connection.close();
  }
}

describe('a server behind TLS and an API key', () => {
  it(
    'runs an evaluation with settings of variables; the keys are in no argument, log, record, artifact or history',
    async () => {
      const home = await securedHome();
      byVariables(home);
      await writeTinyPipeline(join(home.folder, 'float'));
      await writeTinyPipeline(join(home.folder, 'candidate'));
      const { code, stdout, stderr } = await home.run(...evaluate(home));
      expect(code, stderr).toBe(0);
      expect([...called()]).toEqual(
        expect.arrayContaining(['StartWorkflowExecution', 'PollWorkflowTaskQueue', 'PollActivityTaskQueue']),
      );
      expect(proxy.calls.every(({ authorization }) => authorization === `Bearer ${API_KEY}`)).toBe(true);

      const { stdout: settings } = await home.run('config', 'show', '--origin');
      const { stdout: health } = await home.run('doctor');
      expect(health).toMatch(/ok +server .*TLS/);
      const worker = home.record().worker?.pid ?? 0;
      const commands = [worker, home.record().supervisor.pid].map((pid) =>
        readFileSync(`/proc/${pid}/cmdline`, 'utf8'),
      );
      expect(commands[0]).toContain('worker-process');
      const told = [stdout, stderr, settings, health, ...commands, await histories()].join('\n');
      for (const secret of [API_KEY, secretPart(certificates.clientKey)]) {
        expect(told).not.toContain(secret);
        expect(await filesWith(home.folder, secret, /\.key$/)).toEqual([]);
      }
    },
    RUN_MS,
  );

  it(
    'is refused to a wrong key, to a stranger’s certificate and to plain text, without showing a key',
    async () => {
      const home = await securedHome();
      byVariables(home);
      for (const wrong of [
        { TEMPORAL_API_KEY: `not-${API_KEY}` },
        { TEMPORAL_TLS_CLIENT_CERT_PATH: '', TEMPORAL_TLS_CLIENT_KEY_DATA: '' },
        { TEMPORAL_TLS: 'false' },
        { TEMPORAL_TLS_SERVER_CA_CERT_PATH: '' },
      ]) {
        const right = { ...home.env };
        Object.assign(home.env, wrong);
        const { code, stdout, stderr } = await home.run('setup');
        expect(code, stderr).toBe(3);
        expect(stdout + stderr).not.toContain(API_KEY);
        Object.assign(home.env, right);
      }
      expect(proxy.calls.some(({ authorization }) => authorization === `Bearer ${API_KEY}`)).toBe(false);
    },
    RUN_MS,
  );
});

describe('nibbleflow worker', () => {
  it(
    'serves the queues it is told to with nothing but a profile, logs JSON lines, and ends on SIGTERM',
    async () => {
      const home = await securedHome();
      await byProfile(home);
      const worker = startWorker(home, '--queues', 'gpu', '--log', 'json');
      await until(worker, 'worker ready: gpu');
      await expect.poll(() => [...called()], { timeout: 60_000 }).toContain('PollActivityTaskQueue');
      expect(called()).not.toContain('PollWorkflowTaskQueue');
      const child = childOf(worker.process.pid ?? 0);
      expect(readFileSync(`/proc/${child}/cmdline`, 'utf8')).toContain('worker-process');
      expect(readFileSync(`/proc/${child}/cmdline`, 'utf8')).not.toContain(API_KEY);
      worker.process.kill('SIGTERM');
      const [code] = (await once(worker.process, 'exit')) as [number];
      expect(code).toBe(0);
      const lines = worker.said().trim().split('\n');
      for (const line of lines) expect(JSON.parse(line)).toMatchObject({ name: 'worker', msg: expect.any(String) });
      expect(worker.said()).not.toContain(API_KEY);
      expect((await home.run('status')).stdout).toContain('Nothing runs');
    },
    RUN_MS,
  );

  it(
    'says what it needs: a server, and queues that exist',
    async () => {
      const home = await securedHome();
      const alone = await home.run('worker');
      expect(alone).toMatchObject({ code: 3, stderr: expect.stringContaining('TEMPORAL_ADDRESS') });
      const mistyped = await home.run('worker', '--queues', 'cpus');
      expect(mistyped).toMatchObject({ code: 2, stderr: expect.stringContaining('Did you mean cpu?') });
    },
    RUN_MS,
  );
});

interface StartedWorker {
  readonly process: ChildProcess;
  readonly said: () => string;
}

function startWorker(home: CliHome, ...args: string[]): StartedWorker {
  const main = join(packageRoot(), 'dist', 'cli', 'main.js');
  const started = spawn(process.execPath, [main, 'worker', ...args], {
    cwd: home.folder,
    env: { ...process.env, ...home.env },
  });
  let text = '';
  started.stderr.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  return { process: started, said: () => text };
}

async function until(worker: StartedWorker, text: string): Promise<void> {
  await expect
    .poll(() => worker.process.exitCode !== null || worker.said().includes(text), { timeout: 120_000 })
    .toBe(true);
  expect(worker.said()).toContain(text);
}

function childOf(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ')[0]);
}
