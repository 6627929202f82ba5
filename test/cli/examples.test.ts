import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { packageRoot } from '../../cli/package-root.js';
import { executableOnPath } from '../../cli/server/executable-on-path.js';
import { runCli } from './run-cli.js';

const UNITS = ['nibbleflow.service', 'nibbleflow-worker.service'];
const unitFile = (name: string): string => join(packageRoot(), 'examples', 'services', name);
const dockerfile = readFileSync(join(packageRoot(), 'examples', 'worker-container', 'Dockerfile'), 'utf8');

/** What follows `nibbleflow` in the service's command. */
function unitArguments(name: string): string[] {
  const line = /^ExecStart=.*? nibbleflow (.+)$/m.exec(readFileSync(unitFile(name), 'utf8'))?.[1];
  return line?.split(' ') ?? [];
}

function dockerArguments(): string[] {
  const lists = ['ENTRYPOINT', 'CMD'].map((word) => new RegExp(`^${word} (\\[.+\\])$`, 'm').exec(dockerfile)?.[1]);
  const [, ...args] = lists.flatMap((list) => JSON.parse(list ?? '[]') as string[]);
  return args;
}

describe('examples of services and containers', () => {
  it.each([...UNITS.map((name) => [name, unitArguments(name)] as const), ['Dockerfile', dockerArguments()] as const])(
    '%s runs a command and options that exist',
    async (_, args) => {
      expect(args.length).toBeGreaterThan(0);
      const help = await runCli([...args, '--help']);
      expect(help, help.stderr).toMatchObject({ code: 0, stdout: expect.stringContaining(`nibbleflow ${args[0]}`) });
      for (const option of args.filter((arg) => arg.startsWith('--'))) expect(help.stdout).toContain(option);
    },
  );

  it('leave more time to stop than a worker takes by default', async () => {
    const { stdout } = await runCli(['config', 'show', '--output', 'json'], {}, join(packageRoot(), '..'));
    const { settings } = JSON.parse(stdout) as { settings: { name: string; value: unknown }[] };
    const grace = Number(settings.find(({ name }) => name === 'worker.graceSeconds')?.value);
    for (const name of UNITS) {
      const limit = /^TimeoutStopSec=(\d+)$/m.exec(readFileSync(unitFile(name), 'utf8'))?.[1];
      expect(Number(limit)).toBeGreaterThan(grace);
    }
    expect(Number(/--stop-timeout (\d+)/.exec(dockerfile)?.[1])).toBeGreaterThan(grace);
  });

  it.runIf(executableOnPath('systemd-analyze', process.env) !== undefined)('are units that systemd accepts', () => {
    for (const name of UNITS) {
      expect(() => execFileSync('systemd-analyze', ['verify', unitFile(name)], { stdio: 'pipe' })).not.toThrow();
    }
  });
});
