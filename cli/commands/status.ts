import { Command } from 'commander';
import { PROGRESS_QUERY, type RunProgress } from '../../contracts/run-summary.js';
import { findRun, withServer } from '../command-context.js';
import type { CommandAction } from '../command-result.js';
import { type OutputFormat, print } from '../console-output.js';
import { loadConfig } from '../load-config.js';
import { outputOption } from '../run-options.js';
import { isRunning } from '../server/processes.js';
import { RunFolder } from '../server/service-record.js';
import { runUrl } from '../submit-run.js';

/** `nibbleflow status [id]`: what runs here; with an id, where that run is. */
export function statusCommand(run: CommandAction): Command {
  return new Command('status')
    .description('say whether server and worker run, or where a run is')
    .argument('[id]', 'workflow id, or its last part')
    .addOption(outputOption())
    .action((id: string | undefined, options: { output: OutputFormat }) =>
      run(async () => {
        if (id === undefined) await showServices(options.output);
        else await showRun(id, options.output);
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

async function showRun(id: string, format: OutputFormat): Promise<void> {
  await withServer(async ({ client, services }) => {
    const handle = await findRun(client, id);
    const { status, runId } = await handle.describe();
    const progress = await handle.query<RunProgress>(PROGRESS_QUERY);
    const state = status.name.toLowerCase();
    const uiUrl = runUrl(services, handle.workflowId, runId);
    if (format !== 'text') {
      return print(JSON.stringify({ schemaVersion: 1, workflowId: handle.workflowId, runId, state, uiUrl, progress }));
    }
    print(`${handle.workflowId}  ${state}  ${progress.done} of ${progress.total} stages`);
    for (const row of progress.stages)
      print(`  ${row.state.padEnd(8)} ${row.title}${row.summary === '' ? '' : ` · ${row.summary}`}`);
    if (uiUrl !== null) print(uiUrl);
  });
}
