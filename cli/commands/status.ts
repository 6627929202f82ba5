import { Command } from 'commander';
import { type ExitCode, NibbleflowError } from '../../contracts/errors.js';
import { findRun, withServer } from '../command-context.js';
import type { CommandAction } from '../command-result.js';
import { type OutputFormat, print } from '../console-output.js';
import { followRun } from '../follow-run.js';
import { LineView } from '../line-view.js';
import { loadConfig } from '../load-config.js';
import { outputOption } from '../run-options.js';
import { runSnapshot } from '../run-snapshot.js';
import { runTable } from '../run-table.js';
import { isRunning } from '../server/processes.js';
import { RunFolder } from '../server/service-record.js';
import { runUrl } from '../submit-run.js';
import { TableView } from '../table-view.js';

/** `nibbleflow status [id]`: what runs here; with an id, where that run is. */
export function statusCommand(run: CommandAction): Command {
  return new Command('status')
    .description('say whether server and worker run, or where a run is')
    .argument('[id]', 'workflow id, or its last part')
    .option('--watch', 'follow the run to its end, as a table that is redrawn')
    .addOption(outputOption())
    .action((id: string | undefined, { watch, output }: { watch?: boolean; output: OutputFormat }) =>
      run(async () => {
        if (id !== undefined) return watch ? watchTable(id, output) : showRun(id, output);
        if (watch) throw new NibbleflowError('InvalidInput', 'there is no run to watch', { fix: 'Give its id.' });
        await showServices(output);
        return 0;
      }),
    );
}

/** Starts nothing. */
async function showServices(format: OutputFormat): Promise<void> {
  const { stateDir } = await loadConfig(process.cwd());
  const runFolder = new RunFolder(stateDir);
  const services = runFolder.names().flatMap((name) => {
    const record = runFolder.read(name);
    return record !== undefined && isRunning(record.supervisor) ? [record] : [];
  });
  if (format !== 'text') {
    const rows = services.map(({ state, address, namespace, uiUrl }) => ({ state, address, namespace, uiUrl }));
    return print(JSON.stringify({ schemaVersion: 1, stateDir, services: rows }));
  }
  if (services.length === 0) print(`Nothing runs. State folder: ${stateDir}`);
  for (const { address, namespace, uiUrl, state } of services) {
    print(`${state}  ${address} (${namespace})${uiUrl === null ? '' : `  ${uiUrl}`}`);
  }
}

/** The table is for terminals; elsewhere a line for each change says the same. */
function watchTable(id: string, format: OutputFormat): Promise<ExitCode> {
  return withServer(async ({ client, services }) => {
    const handle = await findRun(client, id);
    const { runId } = await handle.describe();
    const view = process.stderr.isTTY ? new TableView(process.stderr) : new LineView();
    return followRun(handle, runUrl(services, handle.workflowId, runId), format, view);
  });
}

function showRun(id: string, format: OutputFormat): Promise<ExitCode> {
  return withServer(async ({ client, services }) => {
    const snapshot = await runSnapshot(await findRun(client, id));
    const { workflowId, runId, state, progress, activities } = snapshot;
    const uiUrl = runUrl(services, workflowId, runId);
    if (format === 'text') {
      for (const line of runTable(snapshot, Date.now())) print(line);
      if (uiUrl !== null) print(uiUrl);
    } else print(JSON.stringify({ schemaVersion: 1, workflowId, runId, state, uiUrl, progress, activities }));
    return 0 as const;
  });
}
