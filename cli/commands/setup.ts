import { Command } from 'commander';
import type { ExitCode } from '../../contracts/errors.js';
import type { CommandAction } from '../command-result.js';
import { type OutputFormat, print } from '../console-output.js';
import { loadConfig } from '../load-config.js';
import { outputOption } from '../run-options.js';
import { connectionSettings, openClient } from '../server/connection.js';
import type { SetupStep } from '../server/set-up-server.js';

interface SetupOptions {
  readonly createNamespace?: boolean;
  readonly output: OutputFormat;
}

/**
 * `nibbleflow setup`: makes a server that is not ours ready for runs. Exit 3 when something that runs need is missing and we
 * may not add it.
 */
export function setupCommand(run: CommandAction): Command {
  return new Command('setup')
    .description('make a Temporal server of your own ready: namespace, retention, search attributes; repeatable')
    .option('--create-namespace', 'create the namespace when it does not exist')
    .addOption(outputOption())
    .action((options: SetupOptions) => run(() => setup(options)));
}

async function setup({ createNamespace = false, output }: SetupOptions): Promise<ExitCode> {
  const { config } = await loadConfig(process.cwd());
  const { address, namespace, options } = await connectionSettings();
  if (address === null) {
    show([], null, output);
    return 0;
  }
  const open = await openClient({ address, namespace }, options);
  try {
    const { setUpServer } = await import('../server/set-up-server.js');
    const { retentionDays } = config.devServer;
    const steps = await setUpServer(open, { namespace, retentionDays, createNamespace });
    show(steps, address, output);
    return steps.some(({ step, state }) => state === 'refused' && step !== 'retention') ? 3 : 0;
  } finally {
    await open.connection.close();
  }
}

function show(steps: readonly SetupStep[], address: string | null, output: OutputFormat): void {
  if (output === 'json') print(JSON.stringify({ schemaVersion: 1, address, steps }, null, 2));
  else if (output === 'text') print(setupText(steps, address));
  else for (const step of steps) print(JSON.stringify({ schemaVersion: 1, address, ...step }));
}

function setupText(steps: readonly SetupStep[], address: string | null): string {
  if (address === null) {
    return 'Nothing to do: no server is configured, and the one that nibbleflow starts is set up by itself.';
  }
  const lines = steps.flatMap(({ step, state, what, command }) => [
    ...(state === 'unchanged' ? [] : [`${state.padEnd(8)} ${step}: ${what}`]),
    ...(command === null ? [] : [`         ask an administrator to run: ${command}`]),
  ]);
  return lines.length === 0 ? `Nothing to do: ${address} is ready.` : lines.join('\n');
}
