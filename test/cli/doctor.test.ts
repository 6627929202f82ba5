import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createLease, type LeaseFile } from '../../activities/lease-files.js';
import type { DoctorLine } from '../../cli/doctor/check.js';
import { orphanEngines } from '../../cli/doctor/leftovers.js';
import { isAtLeast } from '../../cli/doctor/node-version.js';
import { openClient } from '../../cli/server/connection.js';
import { type ProcessRef, processRef } from '../../cli/server/processes.js';
import { RunFolder } from '../../cli/server/service-record.js';
import { anyFreePort } from '../workflows/temporal-for-tests.js';
import { type ForeignServer, startForeignServer } from './foreign-server.js';
import { runCli, runCliWithoutPrivileges } from './run-cli.js';

let folder: string;
let env: Record<string, string>;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'nibbleflow-doctor-'));
  env = { NIBBLEFLOW_HOME: join(folder, 'home') };
});
afterEach(() => rm(folder, { recursive: true, force: true }));

async function doctor(more: Record<string, string> = {}): Promise<{ code: number | null; lines: DoctorLine[] }> {
  const { code, stdout } = await runCli(['doctor', '--output', 'json'], { ...env, ...more }, folder);
  const { checks } = JSON.parse(stdout) as { checks: DoctorLine[] };
  return { code, lines: checks };
}

const of = (lines: readonly DoctorLine[], check: string) => lines.filter((line) => line.check === check);

describe('nibbleflow doctor', () => {
  it('finds everything in order on the machine of the tests, starts nothing and leaves no server', async () => {
    const { code, lines } = await doctor();
    expect(lines.filter(({ state }) => state === 'failed')).toEqual([]);
    expect(code).toBe(0);
    expect(of(lines, 'onnxruntime').map(({ what }) => what)).toContain('cpu: works (self-test passed)');
    expect(of(lines, 'server')[0]?.what).toContain('none of ours runs');
    expect((await runCli(['status'], env, folder)).stdout).toContain('Nothing runs');
    expect(await readdir(join(folder, 'home', 'store', 'checkpoints'))).toEqual([]);
  });

  it('fails with the fix for a device that is configured and missing, and for a server that does not answer', async () => {
    await writeFile(join(folder, 'temporal.config.ts'), "export default { devices: { default: 'cuda' } };\n");
    const address = `127.0.0.1:${await anyFreePort()}`;
    const { code, lines } = await doctor({ TEMPORAL_ADDRESS: address });
    expect(code).toBe(3);
    const failed = lines.filter(({ state }) => state === 'failed');
    expect(failed.map(({ check }) => check)).toEqual(['onnxruntime', 'server']);
    expect(failed[0]).toMatchObject({ what: expect.stringContaining('cuda'), fix: expect.stringContaining('cpu') });
    expect(failed[1]).toMatchObject({ what: expect.stringContaining(address), fix: expect.stringContaining('TLS') });
  });

  it('fails when no binary is there and none may be fetched', async () => {
    const nothing = { PATH: folder, NIBBLEFLOW_CACHE: folder, TEMPORAL_CLI_PATH: '' };
    const online = await doctor(nothing);
    expect(online.code).toBe(0);
    expect(of(online.lines, 'temporal')[0]).toMatchObject({ state: 'warning' });
    const offline = await doctor({ ...nothing, NIBBLEFLOW_OFFLINE: '1' });
    expect(offline.code).toBe(3);
    expect(of(offline.lines, 'temporal')[0]).toMatchObject({ state: 'failed' });
  });

  it('says when the store cannot be written, and when others may read the state', async () => {
    const home = join(folder, 'home');
    await mkdir(join(home, 'store'), { recursive: true });
    await chmod(home, 0o755);
    await chmod(join(home, 'store'), 0o500);
    const { code, stdout } = await runCliWithoutPrivileges(['doctor', '--output', 'json'], env);
    expect(code).toBe(3);
    const { checks } = JSON.parse(stdout) as { checks: DoctorLine[] };
    expect(of(checks, 'store')[0]).toMatchObject({ state: 'warning', fix: `chmod 700 ${home}` });
    expect(of(checks, 'store')[1]).toMatchObject({ state: 'failed', what: expect.stringContaining('store') });
  });

  it('shows the record of a supervisor that was killed, and down removes it', async () => {
    const supervisor = await endedProcess();
    const runFolder = new RunFolder(join(folder, 'home'));
    runFolder.prepare();
    runFolder.write('local', {
      version: 1,
      state: 'ready',
      supervisor,
      server: null,
      worker: null,
      address: '127.0.0.1:1',
      namespace: 'default',
      uiUrl: null,
      build: '',
      failure: null,
    });
    const before = await doctor();
    expect(of(before.lines, 'leftovers')).toMatchObject([{ state: 'warning', fix: 'nibbleflow down' }]);
    await runCli(['down'], env, folder);
    expect(of((await doctor()).lines, 'leftovers')).toMatchObject([{ state: 'ok' }]);
  });
});

describe('a device whose holder died', () => {
  it('is shown: free for the next stage, or still held by an engine that has to be killed', async () => {
    const leaseDir = join(folder, 'leases');
    await mkdir(leaseDir);
    await writeFile(join(folder, 'temporal.config.ts'), `export default { devices: { leaseDir: '${leaseDir}' } };\n`);
    const dead = await endedProcess();
    const engine = spawn(process.execPath, ['-e', 'setInterval(() => undefined, 1000)']);
    try {
      const lease = (more: object): LeaseFile => ({
        device: 'cuda',
        token: 1,
        run: 'quantize/x',
        stage: 'sample',
        attempt: 1,
        host: hostname(),
        worker: dead,
        engine: null,
        since: 0,
        isReleased: false,
        ...more,
      });
      createLease(leaseDir, lease({}));
      createLease(leaseDir, lease({ device: 'webgpu', engine: processRef(engine.pid ?? 0) }));
      const { code, lines } = await doctor();
      expect(code).toBe(3);
      const found = of(lines, 'leftovers').sort((a, b) => a.state.localeCompare(b.state));
      expect(found).toMatchObject([
        { state: 'failed', what: expect.stringContaining('webgpu'), fix: `kill -9 ${engine.pid}` },
        { state: 'ok', what: expect.stringContaining('takes the device over'), fix: null },
      ]);
    } finally {
      engine.kill('SIGKILL');
    }
  });
});

/** A process that ran and ended. */
async function endedProcess(): Promise<ProcessRef> {
  const child = spawn(process.execPath, ['--version']);
  const ref = processRef(child.pid ?? 0);
  await once(child, 'exit');
  return ref;
}

describe('nibbleflow doctor of a server that is not ours', () => {
  let foreign: ForeignServer;
  beforeAll(async () => {
    foreign = await startForeignServer();
  });
  afterAll(() => foreign.stop());

  it('names what is missing there: attributes, retention, workers; and leaves no workflow', async () => {
    const { code, lines } = await doctor({ TEMPORAL_ADDRESS: foreign.address });
    expect(code).toBe(3);
    expect(of(lines, 'search attributes')[0]).toMatchObject({
      state: 'failed',
      what: expect.stringContaining('NibbleModel'),
      fix: expect.stringContaining('temporal operator search-attribute create'),
    });
    expect(of(lines, 'namespace')[0]).toMatchObject({ state: 'warning', fix: expect.stringContaining('setup') });
    expect(of(lines, 'workers').map(({ state }) => state)).toEqual(['warning', 'warning', 'warning']);
    expect(of(lines, 'clock')[0]).toMatchObject({ state: 'ok', what: expect.stringContaining('less than') });
    const open = await openClient({ address: foreign.address, namespace: 'default' });
    try {
      await expect.poll(async () => (await open.client.workflow.count()).count, { timeout: 60_000 }).toBe(0);
    } finally {
      await open.connection.close();
    }
  });

  it('names a namespace that does not exist', async () => {
    const { code, lines } = await doctor({ TEMPORAL_ADDRESS: foreign.address, TEMPORAL_NAMESPACE: 'elsewhere' });
    expect(code).toBe(3);
    expect(of(lines, 'namespace')[0]).toMatchObject({
      state: 'failed',
      fix: expect.stringContaining('--create-namespace'),
    });
  });
});

describe('the parts of the doctor', () => {
  it('compare versions by number', () => {
    expect(isAtLeast('20.19.0', '20.19')).toBe(true);
    expect(isAtLeast('20.9.0', '20.19')).toBe(false);
    expect(isAtLeast('100.0.0', '20.19')).toBe(true);
  });

  it('tell engines whose worker lives from those that lost it', () => {
    const engine = 'node /app/dist/activities/engine/child.js';
    const orphans = orphanEngines([
      { pid: 1, parent: 0, command: '/sbin/init' },
      { pid: 10, parent: 1, command: 'node worker-process.js' },
      { pid: 11, parent: 10, command: engine },
      { pid: 12, parent: 1, command: engine },
      { pid: 13, parent: 999, command: engine },
      { pid: 14, parent: 1, command: 'vim child.js' },
    ]);
    expect(orphans.map(({ pid }) => pid)).toEqual([12, 13]);
  });
});
