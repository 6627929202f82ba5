import { Command } from 'commander';
import type { CommandAction } from '../command-result.js';
import type { OutputFormat } from '../console-output.js';
import { controlRun } from '../control-run.js';
import { outputOption } from '../run-options.js';

/** `nibbleflow resume <id>` */
export function resumeCommand(run: CommandAction): Command {
  return new Command('resume')
    .description('let a paused run go on where it stopped')
    .argument('<id>', 'workflow id, or its last part')
    .addOption(outputOption())
    .action((id: string, { output }: { output: OutputFormat }) => run(() => controlRun(id, 'resume', output)));
}
