import { Command } from 'commander';
import { NibbleflowError } from '../../contracts/errors.js';
import { findRun, withServer } from '../command-context.js';
import type { CommandAction } from '../command-result.js';
import { type OutputFormat, print, printEvent, say } from '../console-output.js';
import { outputOption } from '../run-options.js';

/** `nibbleflow cancel <id>`: returns when the run has stopped. Cancelling a cancelled run is no error. */
export function cancelCommand(run: CommandAction): Command {
  return new Command('cancel')
    .description('stop a run for good; its finished stages are kept')
    .argument('<id>', 'workflow id, or its last part')
    .addOption(outputOption())
    .action((id: string, { output }: { output: OutputFormat }) =>
      run(() =>
        withServer(async ({ client }) => {
          const handle = await findRun(client, id);
          const { workflowId } = handle;
          const { status } = await handle.describe();
          const already = status.name === 'CANCELLED';
          if (!already && status.name !== 'RUNNING') {
            throw new NibbleflowError('InvalidInput', `the run is not running: it is ${status.name.toLowerCase()}`, {
              where: workflowId,
            });
          }
          if (!already) {
            say(`Cancelling ${workflowId}…`);
            await handle.cancel();
            await handle.result().catch(() => undefined);
          }
          // It may have ended by itself before the request arrived.
          const end = already ? status : (await handle.describe()).status;
          show(workflowId, end.name.toLowerCase(), already, output);
          return 0 as const;
        }),
      ),
    );
}

function show(workflowId: string, state: string, already: boolean, format: OutputFormat): void {
  if (format === 'json') print(JSON.stringify({ schemaVersion: 1, workflowId, state, already }));
  else if (format === 'jsonl') printEvent('cancelled', { workflowId, state, already });
  else if (already) print(`Already cancelled ${workflowId}`);
  else print(state === 'cancelled' ? `Cancelled ${workflowId}` : `${workflowId} had already ${state}`);
  if (state === 'cancelled') say(`Its finished stages are kept. Go on with: nibbleflow retry ${workflowId}`);
}
