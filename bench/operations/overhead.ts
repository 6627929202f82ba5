import { withServer } from '../../cli/command-context.js';
import { prepareRun } from '../../cli/prepare-run.js';
import { submitRun } from '../../cli/submit-run.js';
import type { OperationsSettings } from './fresh-home.js';
import { computedStages, unionMs } from './run-log-events.js';

/**
 * One whole run with the default recipe: its wall time without the time in which at least one activity computes, by the
 * activities' own clocks.
 */
export async function overheadLines({ pipeline }: OperationsSettings, home: string): Promise<string[]> {
  return withServer(async ({ client, services, loaded }) => {
    const request = { folder: pipeline, recipe: 'w4a4', settings: [], out: `${home}/out` };
    const { handle } = await submitRun(client, services, await prepareRun(request, loaded, process.cwd()), loaded);
    await handle.result();
    const { startTime, closeTime, historyLength } = await handle.describe();
    const wallMs = (closeTime?.getTime() ?? Number.NaN) - startTime.getTime();
    const stages = computedStages(home);
    const overheadMs = wallMs - unionMs(stages);
    return [
      `wall ${(wallMs / 1000).toFixed(1)} s, ${stages.length} activities compute in ${(unionMs(stages) / 1000).toFixed(1)} s of it`,
      `overhead ${(overheadMs / 1000).toFixed(1)} s, ${((100 * overheadMs) / wallMs).toFixed(2)} %`,
      `history: ${historyLength} events`,
    ];
  });
}
