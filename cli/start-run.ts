import { refuseForeign } from '../activities/output-folder.js';
import type { ExitCode } from '../contracts/errors.js';
import { checkDevice } from './check-device.js';
import { withServer } from './command-context.js';
import { print, printEvent, say } from './console-output.js';
import { followRun } from './follow-run.js';
import { loadConfig } from './load-config.js';
import { prepareRun } from './prepare-run.js';
import type { RunOptions } from './run-options.js';
import { submitRun } from './submit-run.js';

/** Checks everything that can be checked without a server, then starts (or finds) the run and follows it. */
export async function startRun(folder: string, options: RunOptions): Promise<ExitCode> {
  const cwd = process.cwd();
  const { recipe, set: settings, out, device, threads } = options;
  const request = { folder, recipe, settings, out, device, threads };
  const spec = await prepareRun(request, await loadConfig(cwd), cwd);
  await refuseForeign(spec.out, 'pipeline');
  await checkDevice(spec.compute);
  return withServer(async ({ client, services, loaded }) => {
    const run = await submitRun(client, services, spec, loaded);
    say(`${run.attached ? 'Already running' : 'Started'} ${run.workflowId}`);
    if (run.uiUrl !== null) say(`See it at ${run.uiUrl}`);
    const { workflowId, runId, uiUrl, attached } = run;
    if (options.output === 'jsonl') printEvent('started', { workflowId, runId, uiUrl, attached });
    if (!options.detach) return followRun(run.handle, uiUrl, options.output);
    if (options.output === 'json') print(JSON.stringify({ schemaVersion: 1, workflowId, runId, uiUrl, attached }));
    if (options.output === 'text') print(workflowId);
    say(`Follow it with: nibbleflow attach ${workflowId}`);
    return 0;
  });
}
