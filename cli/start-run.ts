import { refuseForeign } from '../activities/output-folder.js';
import type { ExitCode } from '../contracts/errors.js';
import { checkDevice } from './check-device.js';
import { withServer } from './command-context.js';
import { followSubmitted } from './follow-submitted.js';
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
    return followSubmitted(run, options);
  });
}
