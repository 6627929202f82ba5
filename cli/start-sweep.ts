import type { ExitCode } from '../contracts/errors.js';
import { SWEEP_WORKFLOW } from '../contracts/sweep.js';
import { checkDevice } from './check-device.js';
import { withServer } from './command-context.js';
import type { OutputFormat } from './console-output.js';
import { followSubmitted } from './follow-submitted.js';
import { loadConfig } from './load-config.js';
import { prepareSweep, type SweepRequest, sweepIdOf } from './prepare-sweep.js';
import { startWorkflow } from './submit-run.js';

/** Checks every run of the sweep, then starts (or finds) it and follows it. */
export async function startSweep(
  request: SweepRequest,
  options: { readonly detach?: boolean; readonly output: OutputFormat },
): Promise<ExitCode> {
  const cwd = process.cwd();
  const spec = await prepareSweep(request, await loadConfig(cwd), cwd);
  const compute = spec.cells[0]?.spec.compute;
  if (compute !== undefined) await checkDevice(compute);
  return withServer(async ({ client, services, loaded }) => {
    const run = await startWorkflow(client, services, loaded, {
      type: SWEEP_WORKFLOW,
      workflowId: sweepIdOf(spec),
      spec,
      summary: `sweep ${spec.pipelineName}: ${spec.cells.length} runs`,
      details: spec.cells.map(({ name }) => `- ${name}`).join('\n'),
    });
    return followSubmitted(run, options);
  });
}
