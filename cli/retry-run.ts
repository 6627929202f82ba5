import { randomUUID } from 'node:crypto';
import type { WorkflowHandle } from '@temporalio/client';
import { type ExitCode, NibbleflowError } from '../contracts/errors.js';
import { DECISIONS_QUERY, type RunDecisions } from '../contracts/run-control.js';
import { findRun, withServer } from './command-context.js';
import { type OutputFormat, printEvent, say } from './console-output.js';
import { followSubmitted } from './follow-submitted.js';
import { runInput } from './run-input.js';
import { recomputing } from './run-rows.js';
import { startWorkflow } from './submit-run.js';

export interface RetryOptions {
  /** Stage whose results, and those of all behind it, are computed again. */
  readonly from?: string;
  readonly detach?: boolean;
  readonly output: OutputFormat;
}

/** Rows whose bytes tell times: they are never the same twice. */
const TIMED_STAGES: ReadonlySet<string> = new Set(['latency', 'report']);

/** Starts a run again, with the same id and the same input. Throws InvalidInput while it runs. */
export async function retryRun(id: string, options: RetryOptions): Promise<ExitCode> {
  return withServer(async ({ client, services, loaded }) => {
    const before = await findRun(client, id);
    const description = await before.describe();
    const { workflowId } = before;
    if (description.status.name === 'RUNNING') {
      throw new NibbleflowError('InvalidInput', 'the run is still running', {
        where: workflowId,
        fix: `Follow it with nibbleflow attach ${workflowId}, or stop it first with nibbleflow cancel.`,
      });
    }
    const { type } = description;
    const { spec, queues } = await runInput(before);
    const { from } = options;
    const start = from === undefined ? undefined : recomputing(type, spec, { from }, randomUUID());
    const run = await startWorkflow(client, services, loaded, {
      ...{ type, workflowId, spec, queues },
      ...(start === undefined ? {} : { options: start }),
      summary: (await description.staticSummary()) ?? workflowId,
      details: (await description.staticDetails()) ?? '',
    });
    if (run.attached) say('It runs already: what it was started with counts, not these options.');
    const code = await followSubmitted(run, options);
    if (!options.detach && code === 0 && start !== undefined && !run.attached)
      await tellRecomputed(run.handle, start, options.output);
    return code;
  });
}

/** Says whether what was computed again came out as it was. */
export async function tellRecomputed(
  handle: WorkflowHandle,
  { recompute }: { readonly recompute: { readonly stages: readonly string[] } | null },
  format: OutputFormat,
): Promise<void> {
  const decisions = await handle.query<RunDecisions>(DECISIONS_QUERY);
  const rows = (recompute?.stages ?? []).flatMap((stage) => {
    const { equal = 0, different = 0 } = decisions[stage] ?? {};
    return equal + different === 0 ? [] : [{ stage, equal, different, timed: TIMED_STAGES.has(stage) }];
  });
  if (format === 'jsonl') printEvent('recomputed', { stages: rows });
  const named = (chosen: typeof rows): string => chosen.map(({ stage }) => stage).join(', ');
  const same = rows.filter(({ different }) => different === 0);
  const times = rows.filter(({ different, timed }) => different > 0 && timed);
  const others = rows.filter(({ different, timed }) => different > 0 && !timed);
  if (same.length > 0) say(`Computed again, the same bytes: ${named(same)}`);
  if (times.length > 0) say(`Computed again, told by times: ${named(times)}`);
  if (others.length > 0)
    say(`Computed again, OTHER BYTES: ${named(others)}. Compare machine and versions in the reports.`);
}
