import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { SetupStep } from '../../cli/server/set-up-server.js';
import { type ForeignServer, startForeignServer } from './foreign-server.js';
import { startGrpcProxy } from './grpc-proxy.js';
import { runCli } from './run-cli.js';

let folder: string;
let foreign: ForeignServer;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'nibbleflow-setup-'));
  await writeFile(join(folder, 'temporal.config.ts'), 'export default { devServer: { retentionDays: 30 } };\n');
  foreign = await startForeignServer();
});
afterAll(async () => {
  await foreign.stop();
  await rm(folder, { recursive: true, force: true });
});

/** Environment of commands against the server, or against something that stands before it. */
function environment(more: Record<string, string> = {}): Record<string, string> {
  return { NIBBLEFLOW_HOME: join(folder, 'home'), TEMPORAL_ADDRESS: foreign.address, ...more };
}

async function setup(args: readonly string[], more: Record<string, string> = {}) {
  const { code, stdout } = await runCli(['setup', '--output', 'json', ...args], environment(more), folder);
  return { code, steps: (JSON.parse(stdout) as { steps: SetupStep[] }).steps };
}

const states = (steps: readonly SetupStep[]) => steps.map(({ state }) => state);

/** State and what of one check of the doctor. */
async function doctorSays(check: string, more: Record<string, string>): Promise<string[]> {
  const { stdout } = await runCli(['doctor', '--output', 'jsonl'], environment(more), folder);
  const lines = stdout.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line) as Record<string, string>]));
  return lines.flatMap((line) => (line.check === check ? [`${line.state}: ${line.what}`] : []));
}

describe('nibbleflow setup', () => {
  it('has nothing to do without a configured server', async () => {
    const { code, stdout } = await runCli(['setup'], environment({ TEMPORAL_ADDRESS: '' }), folder);
    expect(code).toBe(0);
    expect(stdout).toContain('Nothing to do');
  });

  it('gives an administrator the exact commands for what it may not do', async () => {
    const forbidden = ['UpdateNamespace', 'AddSearchAttributes'];
    const proxy = await startGrpcProxy(foreign.port, { forbidden });
    try {
      const { code, steps } = await setup([], { TEMPORAL_ADDRESS: proxy.address });
      expect(code).toBe(3);
      expect(states(steps)).toEqual(['unchanged', 'refused', 'refused']);
      expect(steps[1]?.command).toBe('temporal operator namespace update --namespace default --retention 30d');
      expect(steps[2]?.command).toContain('--name NibbleModel --type Keyword');
      expect(steps[2]?.what).toContain('Request unauthorized');
    } finally {
      await proxy.close();
    }
  });

  it('adds attributes and retention; the second time there is nothing to do, and doctor agrees', async () => {
    const first = await setup([]);
    expect(first.code).toBe(0);
    expect(states(first.steps)).toEqual(['unchanged', 'done', 'done']);
    expect(await doctorSays('search attributes', {})).toEqual(['ok: all there']);
    expect(await doctorSays('namespace', {})).toEqual(['ok: default, keeps ended runs for 30 days']);
    const second = await runCli(['setup'], environment(), folder);
    expect(second.stdout).toBe(`Nothing to do: ${foreign.address} is ready.\n`);
  });

  it('creates a namespace when it is asked to, and only then', async () => {
    const elsewhere = { TEMPORAL_NAMESPACE: 'quant' };
    const refused = await runCli(['setup'], environment(elsewhere), folder);
    expect(refused.code).toBe(3);
    expect(refused.stderr).toContain('temporal operator namespace create --namespace quant --retention 30d');
    const { code, steps } = await setup(['--create-namespace'], elsewhere);
    expect(code).toBe(0);
    expect(states(steps)).toEqual(['done', 'unchanged', 'done']);
    expect(states((await setup([], elsewhere)).steps)).toEqual(['unchanged', 'unchanged', 'unchanged']);
  });
});
