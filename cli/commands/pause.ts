import { Command } from 'commander';
import type { CommandAction } from '../command-result.js';
import type { OutputFormat } from '../console-output.js';
import { controlRun } from '../control-run.js';
import { outputOption } from '../run-options.js';

/** `nibbleflow pause <id>` */
export function pauseCommand(run: CommandAction): Command {
  return new Command('pause')
    .description('stop a run after its latest checkpoint and free its devices, until it is resumed')
    .argument('<id>', 'workflow id, or its last part')
    .addOption(outputOption())
    .action((id: string, { output }: { output: OutputFormat }) => run(() => controlRun(id, 'pause', output)));
}
