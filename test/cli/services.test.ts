import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isRunning } from '../../cli/server/processes.js';
import { RunFolder, type ServiceRecord } from '../../cli/server/service-record.js';
import { anyFreePort } from '../workflows/temporal-for-tests.js';
import { runCli, spawnCli } from './run-cli.js';

/** Server and worker come back within this on a busy machine. */
const RECOVERY_MS = 60_000;

let folder: string;
let env: Record<string, string>;
let port: number;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'nibbleflow-services-'));
  env = { NIBBLEFLOW_HOME: join(folder, 'home') };
  port = await anyFreePort();
  await configure({ port });
});
afterEach(async () => {
  await runCli(['down'], env, folder);
  await rm(folder, { recursive: true, force: true });
});

function configure(devServer: object): Promise<void> {
  const config = JSON.stringify({ devServer });
  return writeFile(join(folder, 'temporal.config.ts'), `export default ${config};\n`);
}

function record(): ServiceRecord {
  const found = new RunFolder(join(folder, 'home')).read('local');
  if (found === undefined) throw new Error('there is no record of services');
  return found;
}

const processesOf = ({ supervisor, server, worker }: ServiceRecord) => [supervisor, server, worker];

async function until(what: string, condition: () => boolean): Promise<void> {
  const deadline = Date.now() + RECOVERY_MS;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`not within ${RECOVERY_MS} ms: ${what}`);
    await sleep(100);
  }
}

describe('server and worker', () => {
  it('are started by the first command, reused by the next, and gone after down', async () => {
    expect((await runCli(['status'], env, folder)).stdout).toContain('Nothing runs');
    const first = await runCli(['runs'], env, folder);
    expect(first).toMatchObject({ code: 0, stdout: 'No runs.\n' });
    const started = record();
    expect(started.address).toBe(`127.0.0.1:${port}`);
    expect(processesOf(started).map(isRunning)).toEqual([true, true, true]);
    expect((await fetch(started.uiUrl ?? '')).status).toBe(200);
    await runCli(['runs'], env, folder);
    expect(record()).toEqual(started);
    const down = await runCli(['down'], env, folder);
    expect(down.code).toBe(0);
    expect(processesOf(started).map(isRunning)).toEqual([false, false, false]);
  });

  it('are restarted when somebody kills them, at the same address', async () => {
    await runCli(['runs'], env, folder);
    const before = record();
    process.kill(before.worker?.pid ?? 0, 'SIGKILL');
    await until('another worker', () => isRunning(record().worker) && record().worker?.pid !== before.worker?.pid);
    process.kill(before.server?.pid ?? 0, 'SIGKILL');
    await until('another server', () => isRunning(record().server) && record().server?.pid !== before.server?.pid);
    expect(record().address).toBe(before.address);
    expect((await runCli(['runs'], env, folder)).code).toBe(0);
  });

  it('are replaced when the settings of a worker change', async () => {
    await runCli(['runs'], env, folder);
    const before = record();
    const config = JSON.stringify({ devServer: { port }, taskQueues: { cpu: { name: 'another-queue' } } });
    await writeFile(join(folder, 'temporal.config.ts'), `export default ${config};\n`);
    expect((await runCli(['runs'], env, folder)).stderr).toContain('Restarting the worker');
    expect(isRunning(before.worker)).toBe(false);
    expect(isRunning(record().worker)).toBe(true);
  });

  it('do not outlive a killed supervisor for longer than the next down', async () => {
    await runCli(['runs'], env, folder);
    const started = record();
    process.kill(started.supervisor.pid, 'SIGKILL');
    await until('the end of the worker', () => !isRunning(started.worker));
    expect((await runCli(['down'], env, folder)).code).toBe(0);
    expect(processesOf(started).map(isRunning)).toEqual([false, false, false]);
  });

  it('stop by themselves when nothing runs and nobody watches', async () => {
    await configure({ port, idleMinutes: 0.05 });
    await runCli(['runs'], env, folder);
    const started = record();
    await until('the end of all', () => !processesOf(started).some(isRunning));
  });
});

describe('nibbleflow up', () => {
  it('runs in the foreground until Ctrl-C and leaves nothing behind', async () => {
    const child = spawnCli(['up'], env, folder);
    let said = '';
    child.stderr?.on('data', (chunk: Buffer) => {
      said += chunk.toString();
    });
    await until('ready', () => said.includes('worker ready'));
    const started = record();
    child.kill('SIGINT');
    const [code] = (await once(child, 'exit')) as [number];
    expect(code).toBe(0);
    expect(processesOf(started).map(isRunning)).toEqual([false, false, false]);
  });

  it('leaves nothing behind when Ctrl-C comes while it starts', async () => {
    const child = spawnCli(['up'], env, folder);
    await until('a server', () => new RunFolder(join(folder, 'home')).read('local')?.server != null);
    const starting = record();
    expect(starting.state).toBe('starting');
    child.kill('SIGINT');
    const [code] = (await once(child, 'exit')) as [number];
    expect(code).toBe(130);
    expect(processesOf(starting).map(isRunning)).toEqual([false, false, false]);
  });

  it('says which port is in use', async () => {
    await runCli(['runs'], env, folder);
    const other = { NIBBLEFLOW_HOME: join(folder, 'other') };
    const result = await runCli(['up', '--port', String(port)], other, folder);
    expect(result).toMatchObject({ code: 3, stdout: '' });
    expect(result.stderr).toMatch(new RegExp(`port ${port} is in use`));
  });
});
