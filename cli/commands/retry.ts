import { Command } from 'commander';
import type { CommandAction } from '../command-result.js';
import type { RetryOptions } from '../retry-run.js';
import { outputOption } from '../run-options.js';

/** `nibbleflow retry <id>` */
export function retryCommand(run: CommandAction): Command {
  return new Command('retry')
    .description('start a run again: it goes on where it failed or was cancelled')
    .argument('<id>', 'workflow id, or its last part')
    .option('--from <stage>', 'compute this stage and all behind it again, and say whether the same bytes came out')
    .option('--detach', 'start the run and return')
    .addOption(outputOption())
    .action((id: string, options: RetryOptions) =>
      run(async () => {
        const { retryRun } = await import('../retry-run.js');
        return retryRun(id, options);
      }),
    );
}
