import { existsSync, readFileSync, statSync } from 'node:fs';
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { perturbed } from '../activities/perturbed-unet.js';
import { runCli } from '../cli/run-cli.js';
import { tinyUnet, writeTinyPipeline } from '../fixtures/tiny-pipeline.js';
import { anyFreePort } from '../workflows/temporal-for-tests.js';
import { CliHome } from './cli-home.js';
import { type ProcessSocket, socketsOf, staysHere } from './sockets-of.js';

/** Nothing is reached and nothing can be reached but what was asked for; what others named cannot act. */

const RUN_MS = 300_000;
const LOOK_EVERY_MS = 200;
/** A name that would run in a page, and steer a terminal. */
const HOSTILE = `<img src=x onerror=alert(1)>&"'\u001b]0;owned\u0007`;
const HOSTILE_OUT = `${HOSTILE}-out`;

/** Writes down whatever the process connects to. */
const RECORDER = `
import net from 'node:net';
import { appendFileSync } from 'node:fs';
const { connect } = net.Socket.prototype;
net.Socket.prototype.connect = function (...args) {
  const [options] = Array.isArray(args[0]) ? args[0] : args;
  const target = typeof options === 'object' ? (options.path ?? options.host ?? 'localhost') : (args[1] ?? 'localhost');
  appendFileSync(process.env.DIALED, target + '\\n');
  return connect.apply(this, args);
};
`;

let home: CliHome;
let said: { code: number | null; stdout: string; stderr: string };
const seen: ProcessSocket[] = [];

beforeAll(async () => {
  home = await CliHome.open({ name: 'unused' });
  const recorder = join(home.folder, 'recorder.mjs');
  await writeFile(recorder, RECORDER);
  Object.assign(home.env, { NODE_OPTIONS: `--import file://${recorder}`, DIALED: join(home.folder, 'dialed') });
  const devServer = { port: await anyFreePort(), uiPort: await anyFreePort() };
  const config = { devServer, metrics: { port: await anyFreePort() } };
  await writeFile(join(home.folder, 'temporal.config.ts'), `export default ${JSON.stringify(config)};\n`);
  await mkdir(join(home.folder, HOSTILE));
  await writeTinyPipeline(join(home.folder, HOSTILE, 'float'));
  await writeTinyPipeline(join(home.folder, HOSTILE, HOSTILE), perturbed(tinyUnet(), 0.02));
  const protocol = { name: HOSTILE, samples: 4, sampling: { steps: 2 }, metrics: ['psnr'] };
  await writeFile(join(home.folder, 'hostile.json'), JSON.stringify(protocol));
  const settings = ['--protocol', 'hostile.json', '--threads', '1', '--out', join(HOSTILE, 'out')];
  const folders = [join(HOSTILE, HOSTILE), '--against', join(HOSTILE, 'float')];
  let ended = false;
  const running = home.run('evaluate', ...folders, ...settings, '--offline').finally(() => {
    ended = true;
  });
  while (!ended) {
    seen.push(...socketsOf(home.processes().map(({ ref }) => ref.pid)));
    await sleep(LOOK_EVERY_MS);
  }
  said = await running;
}, RUN_MS);
afterAll(() => home.close());

const dialed = (): string[] =>
  readFileSync(home.env.DIALED ?? '', 'utf8')
    .trim()
    .split('\n');

describe('server, UI, worker, metrics and engines', () => {
  it('listen on loopback only, and speak to nobody else', () => {
    expect(said.code, said.stderr).toBe(0);
    const listening = new Set(seen.filter((socket) => socket.listening).map(({ local }) => local.split(':')[1]));
    const { devServer, metrics } = settingsOf(home);
    for (const port of [devServer.port, devServer.uiPort, metrics.port]) {
      expect(listening).toContain(port.toString(16).toUpperCase().padStart(4, '0'));
    }
    expect(seen.filter((socket) => !socket.listening).length).toBeGreaterThan(0);
    expect(seen.filter((socket) => !staysHere(socket))).toEqual([]);
  });

  it('would be noticed if they did not', async () => {
    const open = createServer();
    await new Promise<void>((resolve) => open.listen(0, '0.0.0.0', resolve));
    expect(socketsOf([process.pid]).filter((socket) => !staysHere(socket))).not.toEqual([]);
    await new Promise((resolve) => open.close(resolve));
  });

  it('have a server that is told not to phone its maker', () => {
    const server = home.record().server?.pid ?? 0;
    expect(readFileSync(`/proc/${server}/environ`, 'utf8')).toContain('TEMPORAL_VERSION_CHECK_DISABLED=1');
  });

  it('keep the state for its owner alone', () => {
    expect(statSync(home.home).mode & 0o777).toBe(0o700);
  });
});

describe('--offline', () => {
  it('reaches nothing but this machine in a whole run', () => {
    expect(dialed().filter((target) => !/^(127\.0\.0\.1|localhost|::1|\/.*)$/.test(target))).toEqual([]);
    expect(dialed()).toContain('127.0.0.1');
  });

  it('neither downloads nor builds a server that is missing', async () => {
    const nothing = { PATH: home.folder, NIBBLEFLOW_CACHE: join(home.folder, 'cache'), TEMPORAL_CLI_PATH: '' };
    const env = {
      ...home.env,
      ...nothing,
      NIBBLEFLOW_HOME: join(home.folder, 'other'),
      DIALED: `${home.env.DIALED}-other`,
    };
    const { code, stderr } = await runCli(['runs', '--offline'], env, home.folder);
    expect(code).toBe(3);
    expect(stderr).toContain('download and build: not tried, offline');
    expect(existsSync(env.DIALED)).toBe(false);
  });
});

describe('names that others chose', () => {
  it('are texts in the report: no element, no script, no address but the run’s', () => {
    const page = readFileSync(join(home.folder, HOSTILE, 'out', 'report.html'), 'utf8');
    expect(page).toContain('&lt;img src=x onerror=alert(1)&gt;');
    expect(page).not.toMatch(/<img src=x|<script|javascript:/i);
    expect([...page.matchAll(/(?:src|href)="(https?:[^"]*)"/g)].map(([, url]) => url ?? '')).toSatisfy(
      (urls: string[]) => urls.every((url) => url.startsWith(`http://127.0.0.1:`)),
    );
  });

  it('do not steer the terminal, in evaluate and in compare', async () => {
    expect(said.stderr + said.stdout).not.toContain('\u001b');
    await rename(join(home.folder, HOSTILE, 'out'), join(home.folder, HOSTILE_OUT));
    const compared = await home.run('compare', HOSTILE_OUT, HOSTILE_OUT);
    expect(compared.code, compared.stderr).toBe(0);
    expect(compared.stdout + compared.stderr).not.toContain('\u001b');
    const json = JSON.parse((await home.run('compare', HOSTILE_OUT, HOSTILE_OUT, '--output', 'json')).stdout) as object;
    expect(JSON.stringify(json)).toContain(JSON.stringify(HOSTILE_OUT).slice(1, -1));
  });
});

function settingsOf({ folder }: CliHome) {
  const text = readFileSync(join(folder, 'temporal.config.ts'), 'utf8');
  return JSON.parse(text.replace('export default ', '').replace(/;\s*$/, '')) as {
    devServer: { port: number; uiPort: number };
    metrics: { port: number };
  };
}
