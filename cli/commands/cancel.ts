import { Command } from 'commander';
import { NibbleflowError } from '../../contracts/errors.js';
import { findRun, withServer } from '../command-context.js';
import type { CommandAction } from '../command-result.js';
import { say } from '../console-output.js';

/** `nibbleflow cancel <id>`: returns when the run has stopped. */
export function cancelCommand(run: CommandAction): Command {
  return new Command('cancel')
    .description('stop a run; its finished stages are kept')
    .argument('<id>', 'workflow id, or its last part')
    .action((id: string) =>
      run(() =>
        withServer(async ({ client }) => {
          const handle = await findRun(client, id);
          const { status } = await handle.describe();
          if (status.name !== 'RUNNING') {
            throw new NibbleflowError('InvalidInput', `the run is not running: it is ${status.name.toLowerCase()}`, {
              where: handle.workflowId,
            });
          }
          await handle.cancel();
          await handle.result().catch(() => undefined);
          say(`Cancelled ${handle.workflowId}`);
          return 0 as const;
        }),
      ),
    );
}
