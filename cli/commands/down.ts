import { Command } from 'commander';
import type { CommandAction } from '../command-result.js';
import { say } from '../console-output.js';
import { loadConfig } from '../load-config.js';
import { RunFolder } from '../server/service-record.js';
import { stopServices } from '../server/stop-services.js';

/** `nibbleflow down`: stops server and worker of this state folder; runs go on when they are started again. */
export function downCommand(run: CommandAction): Command {
  return new Command('down')
    .description('stop the server and the worker; unfinished runs go on after the next start')
    .action(() =>
      run(async () => {
        const runFolder = new RunFolder((await loadConfig(process.cwd())).stateDir);
        const stopped = await Promise.all(runFolder.names().map((name) => stopServices(runFolder, name)));
        say(stopped.some(Boolean) ? 'Stopped.' : 'Nothing was running.');
        return 0;
      }),
    );
}
