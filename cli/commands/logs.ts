import { Command } from 'commander';
import type { CommandAction } from '../command-result.js';
import type { OutputFormat } from '../console-output.js';
import { outputOption } from '../run-options.js';
import { showLogs } from '../show-logs.js';

/** `nibbleflow logs <id>` */
export function logsCommand(run: CommandAction): Command {
  return new Command('logs')
    .description("print what a run's workers on this machine wrote, and what the server knows of all others")
    .argument('<id>', 'workflow id, or its last part')
    .option('-f, --follow', 'go on until the run ends')
    .addOption(outputOption())
    .action((id: string, { follow, output }: { follow?: boolean; output: OutputFormat }) =>
      run(() => showLogs(id, follow ?? false, output)),
    );
}
