import { randomUUID } from 'node:crypto';
import { refuseForeign } from '../activities/output-folder.js';
import type { ExitCode } from '../contracts/errors.js';
import type { StartOptions } from '../contracts/run-control.js';
import { QUANTIZE_WORKFLOW } from '../contracts/run-summary.js';
import type { RunSpec } from '../contracts/stages.js';
import { checkDevice } from './check-device.js';
import { withServer } from './command-context.js';
import { say } from './console-output.js';
import { followSubmitted } from './follow-submitted.js';
import { loadConfig } from './load-config.js';
import { prepareRun } from './prepare-run.js';
import { tellRecomputed } from './retry-run.js';
import type { RunOptions } from './run-options.js';
import { recomputing } from './run-rows.js';
import { submitRun } from './submit-run.js';

export interface QuantizeOptions extends RunOptions {
  /** false: no stored result is used. */
  readonly cache?: boolean;
  /** A stage whose stored results are not used. */
  readonly recompute?: string;
}

/** Checks everything that can be checked without a server, then starts (or finds) the run and follows it. */
export async function startRun(folder: string, options: QuantizeOptions): Promise<ExitCode> {
  const cwd = process.cwd();
  const { recipe, set: settings, out, device, threads } = options;
  const request = { folder, recipe, settings, out, device, threads };
  const spec = await prepareRun(request, await loadConfig(cwd), cwd);
  await refuseForeign(spec.out, 'pipeline');
  const start = startOptionsOf(options, spec);
  await checkDevice(spec.compute);
  return withServer(async ({ client, services, loaded }) => {
    const run = await submitRun(client, services, spec, loaded, start);
    if (start !== undefined && run.attached)
      say('It runs already: what it was started with counts, not these options.');
    const code = await followSubmitted(run, options);
    const isToBeTold = start !== undefined && !run.attached && !options.detach && code === 0;
    if (isToBeTold) await tellRecomputed(run.handle, start, options.output);
    return code;
  });
}

function startOptionsOf({ cache = true, recompute }: QuantizeOptions, spec: RunSpec): StartOptions | undefined {
  if (cache && recompute === undefined) return undefined;
  const again = !cache || recompute === undefined ? ('all' as const) : { only: recompute };
  return recomputing(QUANTIZE_WORKFLOW, spec, again, randomUUID());
}
