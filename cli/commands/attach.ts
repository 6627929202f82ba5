import { Command } from 'commander';
import { findRun, withServer } from '../command-context.js';
import type { CommandAction } from '../command-result.js';
import type { OutputFormat } from '../console-output.js';
import { followRun } from '../follow-run.js';
import { outputOption } from '../run-options.js';
import { runUrl } from '../submit-run.js';

/** `nibbleflow attach <id>` */
export function attachCommand(run: CommandAction): Command {
  return new Command('attach')
    .description('follow a run that was started before, or print how it ended')
    .argument('<id>', 'workflow id, or its last part')
    .addOption(outputOption())
    .action((id: string, options: { output: OutputFormat }) =>
      run(() =>
        withServer(async ({ client, services }) => {
          const handle = await findRun(client, id);
          const { runId } = await handle.describe();
          return followRun(handle, runUrl(services, handle.workflowId, runId), options.output);
        }),
      ),
    );
}
