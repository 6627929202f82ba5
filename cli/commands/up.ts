import { Command } from 'commander';
import type { ExitCode } from '../../contracts/errors.js';
import type { CommandAction } from '../command-result.js';
import { say } from '../console-output.js';
import { loadConfig } from '../load-config.js';
import { checkStoreUrl } from '../open-store.js';
import { parsePort } from '../parse-port.js';
import { connectionSettings } from '../server/connection.js';
import { runningServices } from '../server/ensure-services.js';
import { findServer } from '../server/find-server.js';
import { RunFolder, recordName } from '../server/service-record.js';
import { stopServices } from '../server/stop-services.js';
import { Supervisor } from '../server/supervisor.js';

/** `nibbleflow up`: server and worker in the foreground until Ctrl-C. */
export function upCommand(run: CommandAction): Command {
  return new Command('up')
    .description('run the server and a worker in the foreground until Ctrl-C')
    .option('--port <port>', 'port of the server; an error when it is in use')
    .option('--ui-port <port>', 'port of the UI; an error when it is in use')
    .action((options: { port?: string; uiPort?: string }) => run(() => up(options)));
}

async function up(options: { port?: string; uiPort?: string }): Promise<ExitCode> {
  const loaded = await loadConfig(process.cwd());
  checkStoreUrl(loaded);
  const { devServer } = loaded.config;
  const port = options.port === undefined ? devServer.port : parsePort('--port', options.port);
  const uiPort = options.uiPort === undefined ? devServer.uiPort : parsePort('--ui-port', options.uiPort);
  const config = { ...loaded.config, devServer: { ...devServer, port, uiPort } };
  const settings = await connectionSettings();
  const configured = settings.address === null ? null : { address: settings.address, namespace: settings.namespace };
  const runFolder = new RunFolder(loaded.stateDir);
  const name = recordName(configured);
  const running = await runningServices(runFolder, name);
  if (running !== undefined) {
    say(
      `Already running at ${running.address}${running.uiUrl === null ? '' : `, UI ${running.uiUrl}`}. \`nibbleflow down\` stops it.`,
    );
    return 0;
  }
  await stopServices(runFolder, name);
  const binary = configured === null ? (await findServer({ announce: say, offline: config.offline })).path : null;
  const supervisor = new Supervisor({ loaded: { ...loaded, config }, binary, stopWhenIdle: false });
  const started = await supervisor.start();
  if (started === null) return 130;
  const { address, uiUrl } = started;
  say(`Temporal at ${address}${uiUrl === null ? '' : `, UI ${uiUrl}`}; worker ready. Ctrl-C stops both.`);
  await supervisor.untilStopped();
  return 0;
}
