import { Command } from 'commander';
import { NibbleflowError } from '../../contracts/errors.js';
import { DECISIONS_QUERY, type RowDecisions, type RunDecisions } from '../../contracts/run-control.js';
import { PROGRESS_QUERY, type RunProgress, type StageRow } from '../../contracts/run-summary.js';
import { decisionText } from '../../contracts/stage-decision.js';
import { findRun, withServer } from '../command-context.js';
import type { CommandAction } from '../command-result.js';
import { type OutputFormat, print } from '../console-output.js';
import { outputOption } from '../run-options.js';

/** `nibbleflow explain <id>`: why each stage was run or reused. */
export function explainCommand(run: CommandAction): Command {
  return new Command('explain')
    .description('say of each stage of a run why it was run or reused: what differs from the nearest stored result')
    .argument('<id>', 'workflow id, or its last part')
    .addOption(outputOption())
    .action((id: string, { output }: { output: OutputFormat }) =>
      run(() =>
        withServer(async ({ client }) => {
          const handle = await findRun(client, id);
          const { runId } = await handle.describe();
          const { stages } = await handle.query<RunProgress>(PROGRESS_QUERY);
          const decisions = await handle.query<RunDecisions>(DECISIONS_QUERY).catch((error: unknown) => {
            throw new NibbleflowError('InvalidInput', 'this run keeps no reasons', {
              where: handle.workflowId,
              fix: 'Runs of older versions and sweeps have none; ask a run of a sweep.',
              cause: error,
            });
          });
          show({ workflowId: handle.workflowId, runId, stages, decisions }, output);
          return 0 as const;
        }),
      ),
    );
}

interface Explained {
  readonly workflowId: string;
  readonly runId: string;
  readonly stages: readonly StageRow[];
  readonly decisions: RunDecisions;
}

function show({ workflowId, runId, stages, decisions }: Explained, format: OutputFormat): void {
  const rows = stages.map(({ id, stage, state }) => ({ id, stage, state, ...decisions[id] }));
  if (format === 'json') {
    print(JSON.stringify({ schemaVersion: 1, workflowId, runId, stages: rows }, null, 2));
    return;
  }
  for (const row of rows) {
    if (format === 'jsonl') print(JSON.stringify({ schemaVersion: 1, ...row }));
    else print(rowText(row, decisions[row.id]));
  }
}

/** One line, or one for each reason when a row had many activities. */
export function rowText({ id, state }: Pick<StageRow, 'id' | 'state'>, decisions: RowDecisions | undefined): string {
  if (decisions === undefined)
    return `${id}: ${state === 'pending' ? 'not reached' : `${state}, no reason is known yet`}`;
  const { run, reused, examples } = decisions;
  const texts = examples.map((example) => `${decisionText(example)}`);
  if (run + reused === 1) return `${id}: ${texts[0]}`;
  const counts = [run > 0 && `${run} run`, reused > 0 && `${reused} reused`].filter((text) => text !== false);
  return [`${id}: ${counts.join(', ')}`, ...texts.map((text) => `  ${text}`)].join('\n');
}
